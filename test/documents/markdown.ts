/** A Markdown table. A `|` in a cell is escaped, so that it stays one cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line), ""].join("\n")
}

/** `text` as code. */
export const code = (text: string): string => `\`${text}\``

/** A whole document, with the note that it is generated. */
export const generated = (title: string, ...blocks: readonly string[]): string =>
  [`# ${title}`, "<!-- Written by npm run docs from the code. Change the code, not this file. -->", ...blocks]
    .map((block) => block.trim())
    .join("\n\n")
    .concat("\n")
