/** Runs contenders in turn, A B C … A B C …, so that a busy neighbour hits all of them alike. Checks every output. */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import type { Bench } from "./bench-context.ts"
import type { Cost } from "./measure.ts"
import type { Digest } from "./recording.ts"
import { type Spread, spreadOf } from "./statistics.ts"

export interface Contender {
  readonly name: string
  /** Version and settings, for the reader. */
  readonly settings: string
  /** Decrypts one archive (or copies it, see `copies`). Rejects if any process failed. */
  run(): Promise<Cost>
  /** Does not decrypt: its output is the ciphertext, and only its size is checked. */
  readonly copies?: true
  /** Archives per run. Default 1. */
  readonly archives?: number
  /** Checks output that the endpoint can't see, instead of what the endpoint received. */
  check?(expected: Digest): Promise<void>
}

export interface Standing {
  readonly contender: Contender
  readonly costs: readonly Cost[]
  /** Why the contender has no figures. */
  readonly failure?: string
}

/**
 * Runs every contender once to warm up (unless told not to) and compares its output by SHA-256. Then runs all of them in turn,
 * `rounds` times, and compares each output by size and CRC-32C. A contender that fails drops out, with its reason.
 */
export async function contest(
  bench: Bench,
  archiveBytes: number,
  contenders: readonly Contender[],
  { warmUp = true, rounds = bench.options.rounds } = {},
): Promise<Standing[]> {
  const { endpoint } = bench
  const expected = await bench.expected(archiveBytes)
  const costs = new Map<Contender, Cost[]>(contenders.map((contender) => [contender, []]))
  const failures = new Map<Contender, string>()

  for (let round = warmUp ? 0 : 1; round <= rounds; round++) {
    const warming = round === 0
    await endpoint.keep(warming)
    for (const contender of contenders) {
      if (failures.has(contender)) continue
      try {
        await endpoint.forget()
        const cost = await contender.run()
        await (contender.check?.(expected) ?? checkWritten(bench, expected, contender, warming))
        bench.say(
          `  ${warming ? "warm-up" : `round ${round}`}: ${contender.name}: ${cost.seconds.toFixed(2)} s`,
        )
        if (!warming) costs.get(contender)!.push(cost)
      } catch (error) {
        const reason = (error as Error).message.replace(/\s+/g, " ")
        bench.say(`  FAILED: ${contender.name}: ${reason}`)
        failures.set(contender, reason)
      }
    }
  }
  await endpoint.keep(false)
  await endpoint.forget()
  return contenders.map((contender) => {
    const failure = failures.get(contender)
    return {
      contender,
      costs: failure === undefined ? costs.get(contender)! : [],
      ...(failure && { failure }),
    }
  })
}

/** Checks that there are exactly the expected archives, whole and correct, and no open upload. A record (`.json`) may be beside each. */
async function checkWritten(
  bench: Bench,
  expected: Digest,
  { archives: count = 1, copies }: Contender,
  bySha256: boolean,
): Promise<void> {
  const { objects, openUploads } = await bench.endpoint.written()
  const archives = objects.filter(({ key }) => !key.endsWith(".json"))
  if (archives.length !== count || openUploads > 0)
    throw new Error(
      `left ${archives.length} archives and ${openUploads} open uploads instead of ${count} archives`,
    )
  for (const { size, crc32c, files } of archives) {
    if (size !== expected.size) throw new Error(`wrote ${size} bytes instead of ${expected.size}`)
    if (copies) continue
    if (crc32c !== expected.crc32c) throw new Error(`wrote CRC-32C ${crc32c} instead of ${expected.crc32c}`)
    if (bySha256) await compareSha256(files, expected)
  }
}

/** Compares the bytes of `files`, concatenated, by SHA-256. */
export async function compareSha256(files: readonly string[], expected: Digest): Promise<void> {
  const hash = createHash("sha256")
  for (const path of files)
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  const sha256 = hash.digest("hex")
  if (sha256 !== expected.sha256) throw new Error(`wrote SHA-256 ${sha256} instead of ${expected.sha256}`)
}

/** The throughput of `one` as a multiple of that of `other`, round by round. */
export const timesAsFast = (one: Standing, other: Standing): Spread =>
  ratios(one, other, (cost) => 1 / cost.seconds)

/** The processor time of `one` as a multiple of that of `other`, round by round. */
export const timesTheCpu = (one: Standing, other: Standing): Spread =>
  ratios(one, other, (cost) => cost.cpuSeconds)

function ratios(one: Standing, other: Standing, of: (cost: Cost) => number): Spread {
  return spreadOf(one.costs.map((cost, round) => of(cost) / of(other.costs[round]!)))
}
