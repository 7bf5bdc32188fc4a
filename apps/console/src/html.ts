/** HTML that is escaped unless it was made here. */

/** A piece of HTML. Only `html` makes one, so that nothing from outside gets into a page as markup. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What may stand in a piece: text is escaped, and what is absent or false is left out. */
export type Content = Html | string | number | null | undefined | false | readonly Content[]

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}

function textOf(content: Content): string {
  if (content === null || content === undefined || content === false) return ""
  if (content instanceof Html) return content.text
  if (typeof content === "object") return content.map(textOf).join("")
  return String(content).replace(/[&<>"']/g, (character) => ESCAPES[character]!)
}

/** A template of HTML. Attributes must be in double quotes, which escaped text can't leave. */
export const html = (strings: TemplateStringsArray, ...contents: Content[]): Html =>
  new Html(String.raw({ raw: strings }, ...contents.map(textOf)))
