/**
 * Moves an archive with one HTTP client and does nothing else. The chapter on HTTP clients runs it. Memory for the archive is
 * allocated before the clock starts. Parts of 8 MiB move eight at a time.
 *
 * usage: transfer.ts CLIENT read TARGET SIZE · transfer.ts CLIENT write TARGET SIZE PATTERN. ORIGIN holds the origin, and
 * CERTIFICATE the file of its certificate. The TARGET of a write has a query; the part's number is appended to it. Prints JSON, a
 * `Transfer`.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs"
import { crc32 } from "node:zlib"
import type { OpenHttpClient } from "./http-clients/client.ts"

export interface Transfer {
  readonly seconds: number
  readonly cpuSeconds: number
  /** Peak memory, without the archive itself. */
  readonly peakRssBytes: number
  /** The CRC-32 of what is in memory afterwards. */
  readonly crc32: number
}

const MIB = 1024 * 1024
const PART_SIZE = 8 * MIB
const IN_FLIGHT = 8
/** Warms up the compiler and the connections. */
const WARM_UP_BYTES = 128 * MIB

/** Only the requested client is loaded. */
const CLIENTS: Readonly<Record<string, () => Promise<OpenHttpClient>>> = {
  own: async () => (await import("./http-clients/own.ts")).open,
  undici: async () => (await import("./http-clients/undici.ts")).open,
  "undici-sliced": async () => (await import("./http-clients/undici.ts")).openSliced,
  node: async () => (await import("./http-clients/node.ts")).open,
}

const [name = "", direction, target = "", size = "", patternFile = ""] = process.argv.slice(2)
const { ORIGIN = "", CERTIFICATE } = process.env
const open = await CLIENTS[name]!()
const client = open({
  origin: new URL(ORIGIN),
  ca: CERTIFICATE && readFileSync(CERTIFICATE, "utf8"),
  connections: IN_FLIGHT,
})
const archive = Buffer.allocUnsafeSlow(Number(size))
const isRead = direction === "read"
const move = (start: number, part: Uint8Array) =>
  isRead ? client.get(target, start, part) : client.put(`${target}&partNumber=${start / PART_SIZE + 1}`, part)
if (isRead) archive.fill(1)
else fillFrom(patternFile)

await moveParts(Math.min(archive.length, WARM_UP_BYTES))
// So the check afterwards sees only bytes of the measured transfer.
if (isRead) archive.fill(1)
const cpuBefore = process.cpuUsage()
const startedAt = performance.now()
await moveParts(archive.length)
const seconds = (performance.now() - startedAt) / 1e3
const { user, system } = process.cpuUsage(cpuBefore)
const peakRssBytes = process.resourceUsage().maxRSS * 1024 - archive.length
await client.close()
const transfer: Transfer = {
  ...{ seconds, cpuSeconds: (user + system) / 1e6, peakRssBytes },
  crc32: crc32(archive),
}
process.stdout.write(`${JSON.stringify(transfer)}\n`)

/** Moves the first `bytes` of the archive. */
async function moveParts(bytes: number): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < bytes) {
      const start = next
      next += PART_SIZE
      await move(start, archive.subarray(start, start + PART_SIZE))
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane))
}

/** Repeats the pattern, as the endpoint does. */
function fillFrom(path: string): void {
  const file = openSync(path, "r")
  const patternSize = fstatSync(file).size
  for (let at = 0; at < archive.length; at += patternSize) {
    const length = Math.min(patternSize, archive.length - at)
    if (readSync(file, archive, at, length, 0) !== length) throw new Error(`${path} ended early`)
  }
  closeSync(file)
}
