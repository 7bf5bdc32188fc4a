/** The append-only file of a Redis, of which a machine that goes down loses the newest part. */
import { readdirSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"

export interface AppendOnlyFile {
  /** Takes away what was written within the last `ms`, while Redis is down. Resolves with the number of bytes. */
  loseNewest(ms: number): number
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
    loseNewest(ms) {
      const path = newestFile(directory)
      if (path === undefined) throw new Error(`no append-only file in ${directory}`)
      const { size } = statSync(path)
      const before = Date.now() - ms
      const then = sizes.findLast((sample) => sample.path === path && sample.at <= before)
      const kept = Math.min(size, then?.size ?? size)
      truncateSync(path, kept)
      return size - kept
    },
    stop: () => clearInterval(timer),
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
