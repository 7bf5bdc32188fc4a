/** Parses HTTP/1.1 answers (RFC 9112) from the pieces that a socket reads, without copying bodies. */

/** More than any store's header section. S3 itself allows 8 kB. */
const HEAD_LIMIT = 16 * 1024
/** Interim answers before the final one. Stores need just one. */
const INTERIM_LIMIT = 16
/** A chunk's size and its extensions, which no store sends. */
const CHUNK_LINE_LIMIT = 1024
const HEAD_END = Buffer.from("\r\n\r\n")
const LF = 0x0a

export interface ResponseHead {
  readonly status: number
  /** By name in lower case. Repeated names are joined by a comma (RFC 9110, section 5.3). */
  readonly headers: Readonly<Record<string, string>>
  /** Whether the connection can be reused. */
  readonly persistent: boolean
}

/** An answer that is not HTTP/1.1. */
export class HttpSyntaxError extends Error {
  override readonly name = "HttpSyntaxError"
}

type Framing =
  | { kind: "length"; left: number }
  | {
      kind: "chunked"
      left: number
      state: "size" | "data" | "data-end" | "trailer"
      line: string
      trailerBytes: number
    }
  | { kind: "until-close" }

/** Parses one answer to a request of `method`. An answer to HEAD has no body, whatever its headers say. */
export class ResponseParser {
  readonly #method: string
  #head = Buffer.alloc(0)
  #framing: Framing | undefined
  #interim = 0
  head: ResponseHead | undefined
  /** Whether the whole answer has been seen. */
  done = false

  constructor(method: string) {
    this.#method = method
  }

  /** Takes the next piece. Passes its part of the body to `onBody` as views. Returns how many bytes belong to the answer. */
  push(bytes: Uint8Array, onBody: (piece: Uint8Array) => void): number {
    let at = 0
    while (at < bytes.length && !this.done) {
      const rest = bytes.subarray(at)
      at += this.#framing === undefined ? this.#takeHead(rest) : this.#takeBody(rest, onBody)
    }
    return at
  }

  /** The peer closed the connection. Returns `false` if that cut the answer short. */
  close(): boolean {
    if (this.#framing?.kind === "until-close") this.done = true
    return this.done
  }

  #takeHead(bytes: Uint8Array): number {
    const before = this.#head.length
    // Copies only what may still be head, because the body behind it can be large.
    this.#head = Buffer.concat([this.#head, bytes.subarray(0, HEAD_LIMIT - before)])
    const end = this.#head.indexOf(HEAD_END, Math.max(0, before - 3))
    if (end < 0) {
      if (this.#head.length >= HEAD_LIMIT)
        throw new HttpSyntaxError(`header section of more than ${HEAD_LIMIT} bytes`)
      return bytes.length
    }
    const head = parseHead(this.#head.toString("latin1", 0, end))
    this.#head = Buffer.alloc(0)
    // An interim answer (100 Continue, 103 Early Hints) precedes the final one.
    if (head.status >= 200) {
      this.head = head
      this.#framing = framingOf(head, this.#method)
      this.done = this.#framing.kind === "length" && this.#framing.left === 0
    } else if (++this.#interim > INTERIM_LIMIT)
      throw new HttpSyntaxError(`more than ${INTERIM_LIMIT} interim answers`)
    return end + HEAD_END.length - before
  }

  #takeBody(bytes: Uint8Array, onBody: (piece: Uint8Array) => void): number {
    const framing = this.#framing!
    if (framing.kind === "until-close") {
      onBody(bytes)
      return bytes.length
    }
    if (framing.kind === "chunked" && framing.state !== "data") return this.#takeChunkLine(framing, bytes)
    const piece = bytes.subarray(0, framing.left)
    framing.left -= piece.length
    onBody(piece)
    if (framing.left === 0) {
      if (framing.kind === "length") this.done = true
      else framing.state = "data-end"
    }
    return piece.length
  }

  /** Takes a line of the chunked framing: a size, the line break after the data, or a trailer field. */
  #takeChunkLine(framing: Framing & { kind: "chunked" }, bytes: Uint8Array): number {
    const end = bytes.indexOf(LF)
    const taken = end < 0 ? bytes.length : end + 1
    framing.line += Buffer.from(bytes.subarray(0, taken)).toString("latin1")
    if (framing.state === "trailer") framing.trailerBytes += taken
    if (framing.trailerBytes > HEAD_LIMIT)
      throw new HttpSyntaxError(`trailer section of more than ${HEAD_LIMIT} bytes`)
    if (framing.state !== "trailer" && framing.line.length > CHUNK_LINE_LIMIT)
      throw new HttpSyntaxError(`line of more than ${CHUNK_LINE_LIMIT} bytes in a chunked body`)
    if (end < 0) return taken
    const line = framing.line.replace(/\r?\n$/, "")
    framing.line = ""
    if (framing.state === "data-end") {
      if (line !== "") throw new HttpSyntaxError("chunk is longer than its size")
      framing.state = "size"
    } else if (framing.state === "size") {
      const size = /^([0-9a-fA-F]{1,12})(?:[ \t;]|$)/.exec(line)
      if (size === null) throw new HttpSyntaxError("chunk without a size")
      framing.left = Number.parseInt(size[1]!, 16)
      framing.state = framing.left === 0 ? "trailer" : "data"
    } else if (line === "") this.done = true
    return taken
  }
}

function parseHead(text: string): ResponseHead {
  const [statusLine, ...lines] = text.split("\r\n")
  const status = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(statusLine!)
  if (status === null) throw new HttpSyntaxError("answer does not begin with an HTTP/1.1 status line")
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const { name, value } = parseField(line)
    headers[name] = Object.hasOwn(headers, name) ? `${headers[name]}, ${value}` : value
  }
  const persistent = status[1] === "1" && !/\bclose\b/i.test(headers.connection ?? "")
  return { status: Number(status[2]), headers, persistent }
}

/** Parsed by hand: a regular expression for a trimmed value takes cubic time on a value of blanks. */
function parseField(line: string): { name: string; value: string } {
  const colon = line.indexOf(":")
  const name = line.slice(0, Math.max(0, colon))
  if (name === "" || /\s/.test(name) || /[\r\n\0]/.test(line))
    throw new HttpSyntaxError("malformed header field")
  let [start, end] = [colon + 1, line.length]
  while (start < end && isBlank(line[start])) start++
  while (end > start && isBlank(line[end - 1])) end--
  return { name: name.toLowerCase(), value: line.slice(start, end) }
}

const isBlank = (character: string | undefined): boolean => character === " " || character === "\t"

function framingOf({ status, headers }: ResponseHead, method: string): Framing {
  if (method === "HEAD" || status === 204 || status === 304) return { kind: "length", left: 0 }
  const encoding = headers["transfer-encoding"]
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== "chunked")
      throw new HttpSyntaxError(`unknown transfer encoding "${encoding}"`)
    return { kind: "chunked", left: 0, state: "size", line: "", trailerBytes: 0 }
  }
  const length = headers["content-length"]
  if (length === undefined) return { kind: "until-close" }
  if (!/^\d{1,20}$/.test(length)) throw new HttpSyntaxError(`malformed Content-Length "${length}"`)
  return { kind: "length", left: Number(length) }
}
