/** The append-only file of a Redis. A machine that goes down loses the newest part of it. */
import { readdirSync, readFileSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"

export interface AppendOnlyFile {
  /**
   * Removes what was written within the last `ms` while Redis was down. Returns the number of bytes. The rest ends after a
   * transaction or, with `tear`, inside the last transaction that contains its words, if there is one.
   */
  loseNewest(ms: number, tear?: Tear): { readonly bytes: number; readonly torn: boolean }
  stop(): void
}

export interface Tear {
  readonly words: string
  /** How far after the words: a share of the rest of the transaction, above 0 and below 1. */
  readonly at: number
}

const EVERY_MS = 20
/** Longer than any loss. */
const KEPT = 500

/** Watches how the file in `directory` grows. */
export function watchAppendOnlyFile(directory: string): AppendOnlyFile {
  const sizes: { readonly at: number; readonly path: string; readonly size: number }[] = []
  const timer = setInterval(() => {
    const path = newestFile(directory)
    if (path === undefined) return
    sizes.push({ at: Date.now(), path, size: statSync(path).size })
    if (sizes.length > KEPT) sizes.shift()
  }, EVERY_MS)
  return {
    loseNewest(ms, tear) {
      const path = newestFile(directory)
      if (path === undefined) throw new Error(`no append-only file in ${directory}`)
      const { size } = statSync(path)
      const before = Date.now() - ms
      const then = sizes.findLast((sample) => sample.path === path && sample.at <= before)
      const bytes = readFileSync(path).subarray(0, Math.min(size, then?.size ?? size))
      const commands = readCommands(bytes)
      const tornAt = tear && placeOf(tear, bytes, commands)
      const kept = tornAt ?? commands.whole
      truncateSync(path, kept)
      return { bytes: size - kept, torn: tornAt !== undefined }
    },
    stop: () => clearInterval(timer),
  }
}

const LINE_END = "\r\n"

/** Positions in the file: bytes from its beginning. */
interface Commands {
  /** The end of the last command that is whole and not in an unfinished transaction. */
  readonly whole: number
  /** The whole transactions, from after their `MULTI` to after their `EXEC`. */
  readonly transactions: readonly { readonly start: number; readonly end: number }[]
}

/** A position inside a transaction, so that its `EXEC` is lost. */
function placeOf({ words, at }: Tear, bytes: Buffer, { transactions }: Commands): number | undefined {
  for (const { start, end } of transactions.toReversed()) {
    const found = bytes.indexOf(words, start)
    if (found >= 0 && found < end) return Math.min(end - 1, found + Math.ceil(at * (end - found)))
  }
  return undefined
}

/** Parses `bytes` as commands in the form that Redis receives. The last one may be cut off. */
export function readCommands(bytes: Buffer): Commands {
  let at = 0
  let whole = 0
  let begun: number | undefined
  const transactions: { start: number; end: number }[] = []
  /** The number in a line that begins with `sign`. `NaN` if the line is missing or incomplete. */
  function number(sign: string): number {
    const end = bytes.indexOf(LINE_END, at)
    if (end < 0 || bytes.toString("latin1", at, at + 1) !== sign) return Number.NaN
    const value = Number(bytes.toString("latin1", at + 1, end))
    at = end + LINE_END.length
    return value
  }
  for (;;) {
    let name = ""
    const words = number("*")
    if (Number.isNaN(words)) return { whole, transactions }
    for (let word = 0; word < words; word++) {
      const length = number("$")
      if (Number.isNaN(length) || at + length + LINE_END.length > bytes.length) return { whole, transactions }
      if (word === 0) name = bytes.toString("latin1", at, at + length).toUpperCase()
      at += length + LINE_END.length
    }
    if (name === "MULTI") begun = at
    if (name === "EXEC" && begun !== undefined) {
      transactions.push({ start: begun, end: at })
      begun = undefined
    }
    if (begun === undefined) whole = at
  }
}

/** The file that Redis appends to: `appendonly.aof` before Redis 7, the last `….incr.aof` since. */
function newestFile(directory: string): string | undefined {
  const paths = readdirSync(directory, { recursive: true })
    .map(String)
    .filter((path) => /(^appendonly|\.incr)\.aof$/.test(path))
    .map((path) => join(directory, path))
  return paths.toSorted((a, b) => numberOf(a) - numberOf(b)).at(-1)
}

const numberOf = (path: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(path)?.[1] ?? 0)
