/** The append-only file of a Redis, of which a machine that goes down loses the newest part. */
import { readdirSync, readFileSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"

export interface AppendOnlyFile {
  /**
   * Takes away what was written within the last `ms`, while Redis is down; gives the number of bytes. What stays ends behind a
   * transaction, or, `torn`, wherever it ends.
   */
  loseNewest(ms: number, torn: boolean): number
  stop(): void
}

const EVERY_MS = 20
/** Longer than anything is lost for. */
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
    loseNewest(ms, torn) {
      const path = newestFile(directory)
      if (path === undefined) throw new Error(`no append-only file in ${directory}`)
      const { size } = statSync(path)
      const before = Date.now() - ms
      const then = sizes.findLast((sample) => sample.path === path && sample.at <= before)
      const most = Math.min(size, then?.size ?? size)
      const kept = torn ? most : wholeTransactions(readFileSync(path).subarray(0, most))
      truncateSync(path, kept)
      return size - kept
    },
    stop: () => clearInterval(timer),
  }
}

const LINE_END = "\r\n"

/** How many of `bytes`, commands as Redis receives them, are whole and in no unfinished transaction. */
export function wholeTransactions(bytes: Buffer): number {
  let at = 0
  let whole = 0
  let inTransaction = false
  /** The number in a line that begins with `sign`; `NaN` if the line is not there, or not whole. */
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
    if (Number.isNaN(words)) return whole
    for (let word = 0; word < words; word++) {
      const length = number("$")
      if (Number.isNaN(length) || at + length + LINE_END.length > bytes.length) return whole
      if (word === 0) name = bytes.toString("latin1", at, at + length).toUpperCase()
      at += length + LINE_END.length
    }
    if (name === "MULTI") inTransaction = true
    if (name === "EXEC") inTransaction = false
    if (!inTransaction) whole = at
  }
}

/** What Redis appends to now: `appendonly.aof` before Redis 7, the last `….incr.aof` since. */
function newestFile(directory: string): string | undefined {
  const paths = readdirSync(directory, { recursive: true })
    .map(String)
    .filter((path) => /(^appendonly|\.incr)\.aof$/.test(path))
    .map((path) => join(directory, path))
  return paths.toSorted((a, b) => numberOf(a) - numberOf(b)).at(-1)
}

const numberOf = (path: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(path)?.[1] ?? 0)
