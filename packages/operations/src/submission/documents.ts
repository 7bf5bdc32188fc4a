/**
 * Finds JSON objects that are not written one a line: an array on one line or on many, indented objects, several one after the
 * other, and the vendor's pages (`{ "count": …, "items": [ … ] }`). It needs memory for one object.
 */
import { LONGEST_TEXT } from "./lines.ts"

/** An object with its text and the number of the line that it begins on. */
export interface FoundObject {
  readonly line: number
  readonly text: string
}

/** From here on, the text can't be understood. The message is a clause without a subject. */
export class BrokenDocument extends Error {
  override readonly name = "BrokenDocument"
  readonly line: number

  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

const [TAB, LINE_FEED, RETURN, SPACE, QUOTE, COMMA] = [0x09, 0x0a, 0x0d, 0x20, 0x22, 0x2c]
const [OPEN_ARRAY, BACKSLASH, CLOSE_ARRAY, OPEN, CLOSE] = [0x5b, 0x5c, 0x5d, 0x7b, 0x7d]
const ITEMS = '"items":'
/** How far before its array a name is looked for. */
const NAME_BYTES = 64

/** Takes JSON in chunks and gives the objects in it. */
export class ObjectScanner {
  #line = 1
  /** How many objects and arrays are open within the object. */
  #depth = 0
  #isInString = false
  #isEscaped = false
  /** The array whose elements are the objects; `page` if it is within one. */
  #array: "none" | "top" | "page" = "none"
  /** True within the rest of a page, which is ignored. */
  #isRest = false
  #begunOn = 0
  #parts: Buffer[] = []
  #length = 0

  /** Adds the objects that end in `chunk` to `found`. Throws `BrokenDocument`; `found` then has the objects before that place. */
  push(chunk: Buffer, found: FoundObject[]): void {
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte === LINE_FEED) this.#line++
      if (this.#depth === 0) {
        if (this.#between(byte)) start = at
      } else if (this.#isInString) this.#inString(byte)
      else if (byte === QUOTE) this.#isInString = true
      else if (byte === OPEN || byte === OPEN_ARRAY) {
        this.#depth++
        if (byte === OPEN_ARRAY && this.#depth === 2 && this.#beginsPage(chunk.subarray(start, at)))
          start = at + 1
      } else if ((byte === CLOSE || byte === CLOSE_ARRAY) && --this.#depth === 0) {
        this.#add(chunk.subarray(start, at + 1))
        const text = this.#take()
        if (!this.#isRest) found.push({ line: this.#begunOn, text })
        this.#isRest = false
      }
    }
    if (this.#depth > 0) this.#add(chunk.subarray(start))
  }

  /** Throws `BrokenDocument` if the text is not complete. */
  end(): void {
    if (this.#depth > 0 || this.#array !== "none")
      throw new BrokenDocument(this.#depth > 0 ? this.#begunOn : this.#line, "ends before its JSON does")
  }

  /** Takes a byte between objects. True if it begins an object. */
  #between(byte: number): boolean {
    if (byte === SPACE || byte === LINE_FEED || byte === RETURN || byte === TAB || byte === COMMA)
      return false
    if (byte === OPEN) {
      this.#depth = 1
      this.#begunOn = this.#line
      return true
    }
    if (byte === OPEN_ARRAY && this.#array === "none") this.#array = "top"
    else if (byte === CLOSE_ARRAY && this.#array === "top") this.#array = "none"
    else if (byte === CLOSE_ARRAY && this.#array === "page") {
      this.#array = "none"
      this.#isRest = true
      this.#depth = 1
    } else throw new BrokenDocument(this.#line, "holds something between the objects of its JSON")
    return false
  }

  #inString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (byte === BACKSLASH) this.#isEscaped = true
    else if (byte === QUOTE) this.#isInString = false
    else if (byte === LINE_FEED) throw new BrokenDocument(this.#begunOn, "holds an object that is cut")
  }

  #beginsPage(text: Buffer): boolean {
    if (this.#array !== "none" || this.#isRest) return false
    const before = Buffer.concat([
      this.#parts.at(-1)?.subarray(-NAME_BYTES) ?? text.subarray(0, 0),
      text.subarray(-NAME_BYTES),
    ])
    if (!before.toString().replace(/\s/g, "").endsWith(ITEMS)) return false
    this.#take()
    this.#array = "page"
    this.#depth = 0
    return true
  }

  #add(bytes: Buffer): void {
    if (this.#isRest || bytes.length === 0) return
    this.#length += bytes.length
    if (this.#length > LONGEST_TEXT)
      throw new BrokenDocument(this.#begunOn, `holds an object of more than ${LONGEST_TEXT} bytes`)
    this.#parts.push(bytes)
  }

  #take(): string {
    const text = Buffer.concat(this.#parts).toString()
    this.#parts = []
    this.#length = 0
    return text
  }
}
