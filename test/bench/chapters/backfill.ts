import { createHash, randomUUID } from "node:crypto"
import { once } from "node:events"
import { createWriteStream, rmSync } from "node:fs"
import { join } from "node:path"
import { type ArchiveRecord, encodeRecord, recordKeyOf } from "@unseal/archive/record/record"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { isDone } from "@unseal/operations/backfill/skip"
import { queueKey, queuePrefix } from "@unseal/queue/names"
import { Redis } from "ioredis"
import { startApp } from "../../harness/process.ts"
import type { Bench } from "../bench-context.ts"
import { SECRET } from "../callbacks.ts"
import { type Cost, measureCommands } from "../measure.ts"
import type { Section } from "../report.ts"
import { show, spreadOf } from "../statistics.ts"
import { PROJECT_ID } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const MIB = 1024 * 1024
const QUEUE = "bench-submit"
const SUBMIT_PER_SECOND = 5_000
const SUBMIT_MIB = 256
const SKIPS_PER_SECOND = 500
/** As the feeder of a backfill asks. */
const IN_FLIGHT = 64
const CREDENTIAL = { AWS_ACCESS_KEY_ID: "unsealbench", AWS_SECRET_ACCESS_KEY: "unseal-bench-secret-key" }
const UNSEAL = join(import.meta.dirname, "../../../apps/cli/bin/unseal.mjs")

export const backfill: Chapter = {
  name: "backfill",
  title: "Submitting many archives, and skipping what is done",
  async run(bench) {
    const lines = bench.options.quick ? 50_000 : 1_000_000
    const archives = bench.options.quick ? 2_000 : 20_000
    const submitted = await measureSubmit(bench, lines)
    const skips: number[] = []
    const store = await openSimulator(bench)
    try {
      const ids = await writeRecords(store.destination, archives)
      for (let round = 0; round <= bench.options.rounds; round++) {
        const perSecond = await measureSkips(store.destination, ids)
        bench.say(`  round ${round}: ${perSecond.toFixed(0)} skips a second`)
        // Round 0 warms up.
        if (round > 0) skips.push(perSecond)
      }
    } finally {
      await store.close()
    }
    return report(lines, archives, submitted, skips)
  },
}

async function writeManifest(bench: Bench, file: string, lines: number): Promise<void> {
  const output = createWriteStream(file)
  const password = bench.recording.encryptedPassword()
  output.write("archiveId,projectId,password,size\n")
  for (let done = 0; done < lines; done += 1_000) {
    const some = Array.from({ length: 1_000 }, () => `${randomUUID()},${PROJECT_ID},${password},104857600\n`)
    if (!output.write(some.join(""))) await once(output, "drain")
  }
  output.end()
  await once(output, "close")
}

/** `unseal submit` of a CSV file, its start included. Throws if a line did not reach the queue. */
async function measureSubmit(bench: Bench, lines: number): Promise<Cost> {
  const file = join(bench.directory, "manifest.csv")
  await writeManifest(bench, file, lines)
  const redis = await bench.redis()
  const connection = new Redis(redis.url)
  try {
    bench.say(`  submitting ${lines} lines`)
    const cost = await measureCommands(
      bench.native,
      [[[process.execPath, UNSEAL, "submit", file, "--no-look"]]],
      {
        env: { REDIS_URL: redis.url, UNSEAL_QUEUE: QUEUE, ...bench.options.env },
        timeoutSeconds: 1_800,
      },
    )
    const waiting = await connection.zcard(queueKey(QUEUE, "prioritized"))
    if (waiting !== lines) throw new Error(`${waiting} of ${lines} lines are in the queue`)
    return cost
  } finally {
    rmSync(file, { force: true })
    for await (const keys of connection.scanStream({ match: `${queuePrefix(QUEUE)}*`, count: 1_000 }))
      if (keys.length > 0) await connection.unlink(keys)
    connection.disconnect()
  }
}

/** The simulator's S3 server, in a process of its own. */
async function openSimulator(bench: Bench): Promise<{ destination: ArchiveStore; close(): Promise<void> }> {
  const simulator = await startApp("simulator", {
    env: {
      ...{ SIMULATOR_PORT: "0", SIMULATOR_S3_PORT: "0", SIMULATOR_PROJECT_ID: PROJECT_ID, ...CREDENTIAL },
      // It records nothing here.
      SIMULATOR_CERTIFICATE_FILE: join(bench.directory, "cert.pem"),
      SIMULATOR_CALLBACK_URL: "http://127.0.0.1:1/callbacks",
      SIMULATOR_SIGNATURE_SECRET: SECRET,
    },
  })
  const query = new URLSearchParams({
    endpoint: `http://127.0.0.1:${simulator.ports.s3}`,
    ...{ region: "us-east-1", pathStyle: "true" },
  })
  // The SDK looks for credentials here.
  Object.assign(process.env, CREDENTIAL)
  const destination = await openStore(`s3://decrypted?${query}`, { env: {} })
  return {
    destination,
    async close() {
      await destination.close()
      await simulator.stop()
    },
  }
}

const keyOf = (archiveId: string) => `${PROJECT_ID}/${archiveId}/archive.ts`
const never = new AbortController().signal

async function writeRecords(store: ArchiveStore, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID())
  const sha256 = createHash("sha256").digest("hex")
  await inTurns(ids, async (archiveId) => {
    const key = keyOf(archiveId)
    const record: ArchiveRecord = {
      ...{ version: 1, archiveId, projectId: PROJECT_ID, attempts: 1, unsealVersion: "0.1.0" },
      ...{ source: { key, size: 1_520, etag: "s" }, destination: { key, size: 1_504, etag: "d" } },
      ...{ crc32: "00000000", sha256: { plaintext: sha256 }, tail: { form: "pkcs7", padding: 16 } },
      media: { packets: 8, syncErrors: 0 },
      ...{ startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:01.000Z" },
    }
    const options = { metadata: {}, existing: "replace" } as const
    await writeSmallObject(store, recordKeyOf(key), encodeRecord(record), "application/json", never, options)
  })
  return ids
}

async function measureSkips(store: ArchiveStore, ids: readonly string[]): Promise<number> {
  const startedAt = performance.now()
  await inTurns(ids, async (archiveId) => {
    const skip = await isDone({ projectId: PROJECT_ID, archiveId }, store, keyOf(archiveId), never)
    if (skip === null) throw new Error(`archive ${archiveId} was not skipped`)
  })
  return ids.length / ((performance.now() - startedAt) / 1_000)
}

/** Calls `each` for all `ids`, some at a time. */
async function inTurns(ids: readonly string[], each: (id: string) => Promise<void>): Promise<void> {
  let next = 0
  const one = async () => {
    while (next < ids.length) await each(ids[next++]!)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
}

function report(lines: number, archives: number, submitted: Cost, skips: readonly number[]): Section {
  const perSecond = lines / submitted.seconds
  const peak = submitted.peakRssBytes / MIB
  const skipped = spreadOf(skips)
  return {
    conditions: `\`unseal submit\` of a CSV file with ${lines.toLocaleString("en")} lines, its start included, into a Redis with \`appendfsync always\`. Skips of ${archives.toLocaleString("en")} archives whose records are in the simulator's S3 server, ${IN_FLIGHT} at a time in one process. Client and server share the machine.`,
    columns: ["", "a second", "CPU ms each", "peak RSS MiB"],
    rows: [
      [
        "lines submitted",
        perSecond.toFixed(0),
        ((submitted.cpuSeconds * 1_000) / lines).toFixed(3),
        peak.toFixed(0),
      ],
      ["archives skipped", show(skipped, 0), "", ""],
    ],
    targets: [
      {
        claim: `≥ ${SUBMIT_PER_SECOND.toLocaleString("en")} lines a second`,
        measured: `${perSecond.toFixed(0)}/s`,
        reached: perSecond >= SUBMIT_PER_SECOND,
      },
      {
        claim: `a million lines in ≤ ${SUBMIT_MIB} MiB`,
        measured: `${peak.toFixed(0)} MiB for ${lines.toLocaleString("en")}`,
        reached: peak <= SUBMIT_MIB,
      },
      {
        claim: `≥ ${SKIPS_PER_SECOND} skips a second in one process`,
        measured: `${skipped.median.toFixed(0)}/s`,
        reached: skipped.median >= SKIPS_PER_SECOND,
      },
    ],
    settings: [["unseal submit", `Node ${process.versions.node}, \`--no-look\``]],
    failures: [],
  }
}
