import { type Row, readRow, type Said } from "./fields.ts"
import type { Line } from "./lines.ts"
import { SubmissionError } from "./submission-error.ts"
import { type Header, readFields, readHeader } from "./table.ts"

/** A line, or an object of JSON, and what it says. The text is `null` if it is too long to be kept. */
export interface Read {
  readonly line: number
  readonly text: string | null
  readonly said: Said
  readonly header?: string
}

/** How many lines a row may have. If a quote is still open after them, it was not meant as one. */
const MOST_LINES = 50

/** Takes the lines of a table. One input may hold several tables, each below its header. */
export class TableReader {
  readonly #name: string
  readonly #projectId: string | undefined
  #header: Header | undefined
  #isFirst = true
  /** The lines so far of a row with an open quote. */
  #open: Line[] = []

  constructor(name: string, projectId: string | undefined) {
    this.#name = name
    this.#projectId = projectId
  }

  /** Whether the next line continues a row. */
  get isWithinRow(): boolean {
    return this.#open.length > 0
  }

  /** What `line` says; `null` if it belongs to no table. Throws `SubmissionError` if the first line is a header with mistakes. */
  push(line: Line & { readonly text: string }): Read[] | null {
    const isFirst = this.#isFirst
    this.#isFirst = false
    if (!this.isWithinRow && (isFirst || /archive[ _-]?id/i.test(line.text))) {
      const header = readHeader(line.text, this.#projectId !== undefined)
      if (header !== null && "columns" in header) {
        this.#header = header
        return []
      }
      if (header !== null && isFirst)
        throw new SubmissionError("ERR_NOT_CALLBACKS", `${this.#name} ${header.problem}`)
    }
    return this.#header === undefined ? null : this.#row(line, this.#header)
  }

  /** What the last lines say, if they are a row whose quote was never closed. */
  end(): Read[] {
    return this.#header === undefined || !this.isWithinRow ? [] : this.#giveUp(this.#header)
  }

  #row(line: Line, header: Header): Read[] {
    this.#open.push(line)
    const [first] = this.#open
    const text = this.#open.map((each) => each.text).join("\n")
    const fields = readFields(text, header)
    if (fields === "open") return this.#open.length < MOST_LINES ? [] : this.#giveUp(header)
    this.#open = []
    return [{ line: first!.line, text, said: saidBy(fields, this.#projectId), header: header.text }]
  }

  /** The first line's quote was a mistake. The other lines are rows of their own. */
  #giveUp(header: Header): Read[] {
    const [first, ...rest] = this.#open
    this.#open = []
    const malformed = { malformed: "a quote is not closed" }
    return [
      { line: first!.line, text: first!.text, said: malformed, header: header.text },
      ...rest.flatMap((line) => this.#row(line, header)),
      ...this.end(),
    ]
  }
}

const saidBy = (fields: Row | { problem: string }, projectId: string | undefined): Said =>
  "problem" in fields ? { malformed: fields.problem } : readRow(fields, projectId)
