/** The memory of a running process, as root or its parent may read it (proc(5), `/proc/PID/maps`, `pagemap` and `mem`). */
import { type FileHandle, open, readFile } from "node:fs/promises"
import { LONGEST_NEEDLE, type Searcher } from "./searcher.ts"

const CHUNK_SIZE = 4 * 1024 * 1024
/** Of x64 and of most arm64 kernels; with larger pages the entries would be fewer, and the read short. */
const PAGE_SIZE = 4_096

/** Searches all memory that process `pid` can write and has written: heaps, stacks, data. */
export async function searchMemory(pid: number, search: Searcher): Promise<string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, "latin1")
  const [memory, pageMap] = [await open(`/proc/${pid}/mem`, "r"), await open(`/proc/${pid}/pagemap`, "r")]
  const found = new Set<string>()
  try {
    for (const region of writableRegions(maps))
      for (const { start, end } of await usedRanges(pageMap, region))
        for (let at = start; at < end; at += CHUNK_SIZE) {
          // With enough of the next chunk to find a secret across the border.
          const chunk = Buffer.allocUnsafe(Math.min(CHUNK_SIZE + LONGEST_NEEDLE, end - at))
          const bytesRead = await memory.read(chunk, 0, chunk.length, at).then(
            (result) => result.bytesRead,
            // The process has given the region back meanwhile.
            () => 0,
          )
          for (const label of search(chunk.subarray(0, bytesRead))) found.add(label)
        }
  } finally {
    await memory.close()
    await pageMap.close()
  }
  return [...found]
}

interface Range {
  readonly start: number
  readonly end: number
}

function writableRegions(maps: string): Range[] {
  return maps.split("\n").flatMap((line) => {
    const [, start, end, path] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? []
    if (start === undefined || end === undefined || path?.startsWith("[v")) return []
    return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) }]
  })
}

/** The pages that are in memory or swapped out. Most of what a JavaScript engine reserves it never touches. */
async function usedRanges(pageMap: FileHandle, { start, end }: Range): Promise<Range[]> {
  const pages = (end - start) / PAGE_SIZE
  const entries = Buffer.alloc(pages * 8)
  await pageMap.read(entries, 0, entries.length, (start / PAGE_SIZE) * 8)
  const ranges: Range[] = []
  for (let page = 0; page < pages; page++) {
    // Bits 63 and 62 of an entry: present, swapped.
    if (entries[page * 8 + 7]! < 0x40) continue
    const at = start + page * PAGE_SIZE
    const last = ranges.at(-1)
    if (last?.end === at) ranges[ranges.length - 1] = { start: last.start, end: at + PAGE_SIZE }
    else ranges.push({ start: at, end: at + PAGE_SIZE })
  }
  return ranges
}
