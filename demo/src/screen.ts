/** The demo's output: steps, one progress line, a table. Colours and redrawing only on a terminal. */
const isTerminal = process.stdout.isTTY
const paint = (code: number) => (text: string) => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)

export function heading(text: string): void {
  clearProgress()
  process.stdout.write(`\n${bold(text)}\n`)
}

export function step(name: string, detail: string): void {
  clearProgress()
  process.stdout.write(`  ${name.padEnd(12)} ${dim(detail)}\n`)
}

let drawn = ""

/** Redraws one line in place. Without a terminal, prints a line whenever its text changes. */
export function progress(text: string): void {
  if (text === drawn) return
  drawn = text
  process.stdout.write(isTerminal ? `\r\x1b[K  ${text}` : `  ${text}\n`)
}

/** Like `progress`, for lines that only matter if they are the last: prints nothing without a terminal. */
export function redraw(text: string): void {
  if (isTerminal) progress(text)
}

function clearProgress(): void {
  if (isTerminal && drawn !== "") process.stdout.write("\r\x1b[K")
  drawn = ""
}

/** Columns are as wide as their widest cell. Those in `right` are right-aligned. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[],
): void {
  clearProgress()
  const widths = header.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        right.includes(header[column]!) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join("  ")
      .trimEnd()
  process.stdout.write(`  ${dim(line(header))}\n`)
  for (const row of rows) process.stdout.write(`  ${line(row)}\n`)
}
