import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { crc32 } from "node:zlib"
import type { Bench } from "../bench-context.ts"
import { type Contender, contest, type Standing, timesAsFast, timesTheCpu } from "../contest.ts"
import type { Origin } from "../endpoint.ts"
import { packageVersion } from "../measure.ts"
import { sourceBucket } from "../peers.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf, type Target } from "../report.ts"
import { show } from "../statistics.ts"
import type { Transfer } from "../transfer.ts"
import type { Chapter } from "./chapter.ts"

const TIMEOUT_MS = 600_000

type Direction = "read" | "write"

/** The names that transfer.ts uses. */
const OWN = { id: "own", name: "**own client**", settings: "" }
const UNDICI = { id: "undici", name: "undici", settings: "`Pool` and `dispatch`" }
const SLICED = {
  id: "undici-sliced",
  name: "undici, in slices",
  settings: "`Pool` and `dispatch`, a body in slices of the own client's size: 512 KiB, over TLS 64 KiB",
}
const WHOLE = { ...UNDICI, name: "undici, bodies whole" }
const NODE = { id: "node", name: "`node:http`", settings: "`Agent`, bodies whole" }

/** How close undici must come, in each case, to replace our own client. For writes it must also use as little memory. */
const NEAR = { throughput: 0.9, cpu: 1.1 }

export const clients: Chapter = {
  name: "clients",
  title: "HTTP clients",
  async run(bench) {
    const { archiveBytes } = bench.options
    const expected = await ciphertextOf(bench, archiveBytes)
    const rows: string[][] = []
    const targets: Target[] = []
    const failures: string[] = []
    const settings = new Map<string, string>()
    for (const origin of [bench.endpoint, bench.endpoint.secure])
      for (const direction of ["read", "write"] as const) {
        const title = `${direction}, ${origin.certificateFile ? "TLS" : "plain HTTP"}`
        bench.say(`  ${title}`)
        const clients = direction === "read" ? [OWN, UNDICI, NODE] : [OWN, SLICED, WHOLE, NODE]
        const contenders = clients.map((client) =>
          contenderOf(bench, client, { origin, direction, expected }),
        )
        const standings = await contest(bench, archiveBytes, contenders, { warmUp: false })
        const [own, undici] = standings as [Standing, Standing]
        for (const standing of standings)
          rows.push([
            `${title}: ${standing.contender.name}`,
            ...costColumns(standing, archiveBytes),
            ...(standing !== own && isComparable(own, standing)
              ? [`${show(timesAsFast(standing, own), 2)}×`, `${show(timesTheCpu(standing, own), 2)}×`]
              : ["", ""]),
          ])
        if (isComparable(own, undici)) targets.push(targetOf(title, own, undici))
        for (const [name, text] of settingsOf(standings)) settings.set(name, text)
        failures.push(...failuresOf(standings).map((failure) => `${title}: ${failure}`))
      }
    return {
      conditions: `${mebibytes(archiveBytes)} in parts of 8 MiB, 8 at once, over eight kept connections, to or from memory that was allocated before; one process for each figure, measured warm. Nothing is signed, hashed or decrypted. ${bench.options.rounds} interleaved rounds, median (range); memory excludes the archive itself.`,
      columns: ["", ...COST_COLUMNS, "of the own client's throughput", "of its CPU"],
      ...{ rows, targets, settings: [...settings], failures },
    }
  },
}

const isComparable = (one: Standing, other: Standing) => one.costs.length > 0 && other.costs.length > 0

function targetOf(title: string, own: Standing, undici: Standing): Target {
  const [speed, cpu] = [timesAsFast(undici, own), timesTheCpu(undici, own)]
  return {
    claim: `${title}: ${undici.contender.name} ≥ ${NEAR.throughput}× the own client's throughput, ≤ ${NEAR.cpu}× its CPU`,
    measured: `${speed.median.toFixed(2)}×, ${cpu.median.toFixed(2)}×`,
    reached: speed.median >= NEAR.throughput && cpu.median <= NEAR.cpu,
  }
}

/** The archive as the store holds it, which is what clients move. */
interface Ciphertext {
  readonly size: number
  readonly crc32: number
  /** Hex, as the endpoint reports it. */
  readonly crc32c: string
}

async function ciphertextOf({ recording, endpoint }: Bench, size: number): Promise<Ciphertext> {
  let checksum = 0
  async function* body() {
    for await (const chunk of recording.ciphertext(size)) {
      checksum = crc32(chunk, checksum)
      yield chunk
    }
  }
  const { crc32c } = await endpoint.put(`reference/ciphertext-${size}`, size, body())
  return { size, crc32: checksum, crc32c }
}

interface Move {
  readonly origin: Origin
  readonly direction: Direction
  readonly expected: Ciphertext
}

function contenderOf(
  bench: Bench,
  { id, name, settings }: typeof OWN,
  { origin, direction, expected }: Move,
): Contender {
  const { endpoint, recording } = bench
  const versions = `Node ${process.versions.node}${id.startsWith("undici") ? `, undici ${packageVersion("undici")}` : ""}`
  const transfer = async (target: string, ...rest: string[]): Promise<Transfer> => {
    const program = join(import.meta.dirname, "../transfer.ts")
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [program, id, direction, target, String(expected.size), ...rest],
      {
        env: { ORIGIN: origin.url, ...(origin.certificateFile && { CERTIFICATE: origin.certificateFile }) },
        timeout: TIMEOUT_MS,
      },
    )
    return JSON.parse(stdout) as Transfer
  }
  return {
    name,
    settings: [versions, settings].filter(Boolean).join(", "),
    async run() {
      if (direction === "read") {
        const moved = await transfer(`/${sourceBucket(expected.size)}/${id}/archive.ts`)
        if (moved.crc32 !== expected.crc32)
          throw new Error(`read CRC-32 ${moved.crc32} instead of ${expected.crc32}`)
        return moved
      }
      const object = `${endpoint.url}/decrypted/${id}/archive.ts`
      const [, upload] = /<UploadId>(\d+)</.exec(await post(`${object}?uploads`)) ?? []
      const moved = await transfer(`/decrypted/${id}/archive.ts?uploadId=${upload}`, recording.patternFile)
      await post(`${object}?uploadId=${upload}`)
      return moved
    },
    async check() {
      if (direction === "read") return
      const { objects, openUploads } = await endpoint.written()
      const [object] = objects
      if (objects.length !== 1 || openUploads > 0)
        throw new Error(
          `left ${objects.length} archives and ${openUploads} open uploads instead of 1 archive`,
        )
      if (object?.size !== expected.size)
        throw new Error(`wrote ${object?.size} bytes instead of ${expected.size}`)
      if (object.crc32c !== expected.crc32c)
        throw new Error(`wrote CRC-32C ${object.crc32c} instead of ${expected.crc32c}`)
    },
  }
}

async function post(url: string): Promise<string> {
  const response = await fetch(url, { method: "POST" })
  if (!response.ok) throw new Error(`the endpoint answered ${response.status} to POST ${url}`)
  return response.text()
}
