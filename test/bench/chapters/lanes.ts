import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { createProducer, type Producer } from "@unseal/queue/enqueue/producer"
import { createJobPayload } from "@unseal/queue/jobs/job"
import type { Lane } from "@unseal/queue/jobs/lane"
import { queueKey, queuePrefix } from "@unseal/queue/names"
import { pauseQueue, resumeQueue } from "@unseal/queue/pause"
import { Redis } from "ioredis"
import type { Bench } from "../bench-context.ts"
import type { Digest } from "../recording.ts"
import { mebibytes, type Section } from "../report.ts"
import { percentileOf, show, spreadOf } from "../statistics.ts"
import { PROJECT_ID, startWorkers, type Workers } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const BULK = 100_000
const ARCHIVE_BYTES = 1024 * 1024
/** Makes archives slow without using the processor, which both queues share. */
const ROUND_TRIP_MS = 150
const PROCESSES = 2
/** Live archives, at random moments. */
const PER_SECOND = 2
const LIMIT = 1.2
/** An archive that takes longer counts as failed. */
const LATE_MS = 120_000

/** A queue with its workers. */
interface Arm {
  readonly name: string
  readonly workers: Workers
  readonly producer: Producer
  /** Called with each archive that was committed. */
  readonly committed: Map<string, () => void>
  /** The backfill's committed archives, which nobody waits for. */
  bulk: number
}

interface Round {
  /** From the moment before a job is enqueued to its commit. */
  readonly milliseconds: readonly number[]
  readonly bulkPerSecond: number
}

export const lanes: Chapter = {
  name: "lanes",
  title: `Live archives, with ${BULK.toLocaleString("en")} bulk ones waiting`,
  async run(bench) {
    const connection = new Redis((await bench.redis()).url)
    const arms: Arm[] = []
    await bench.endpoint.delay(ROUND_TRIP_MS)
    try {
      const empty = await openArm(bench, connection, "empty queue")
      arms.push(empty)
      const full = await openArm(bench, connection, `${BULK.toLocaleString("en")} bulk archives wait`)
      arms.push(full)
      const bytesPerJob = await fill(bench, connection, full)
      const rounds = new Map<Arm, Round[]>(arms.map((arm) => [arm, []]))
      const count = bench.options.quick ? 40 : 200
      for (let round = 1; round <= bench.options.rounds; round++) {
        rounds.get(empty)!.push(await measure(bench, empty, count))
        await resumeQueue(connection, full.workers.queue)
        const before = full.bulk
        while (full.bulk < before + 20) await sleep(50)
        rounds.get(full)!.push(await measure(bench, full, count))
        await pauseQueue(connection, full.workers.queue)
        while ((await connection.llen(queueKey(full.workers.queue, "active"))) > 0) await sleep(50)
      }
      const left = await connection.zcard(queueKey(full.workers.queue, "prioritized"))
      const failures = await wrongOutputs(bench, await bench.expected(ARCHIVE_BYTES))
      return report({ empty, full, rounds, bytesPerJob, left, count, failures })
    } finally {
      await bench.endpoint.delay(0)
      for (const arm of arms) {
        await arm.workers.close()
        await arm.producer.close()
        await forget(connection, arm.workers.queue)
      }
      connection.disconnect()
    }
  },
}

async function openArm(bench: Bench, connection: Redis, name: string): Promise<Arm> {
  const committed = new Map<string, () => void>()
  const workers = await startWorkers(bench, {
    ...{ origin: bench.endpoint, archiveBytes: ARCHIVE_BYTES, processes: PROCESSES },
    onLine(line) {
      if (line.msg !== "archive committed") return
      const done = committed.get(String(line.archiveId))
      if (done) done()
      else arm.bulk++
    },
  })
  const producer = createProducer({ connection, queue: workers.queue, deadlineMs: 60_000 })
  const arm: Arm = { name, workers, producer, committed, bulk: 0 }
  return arm
}

const enqueue = (bench: Bench, { producer }: Arm, archiveId: string, lane: Lane) =>
  producer.enqueue(
    createJobPayload({
      ...{ projectId: PROJECT_ID, archiveId, encryptedPassword: bench.recording.encryptedPassword() },
      ...{ status: "uploaded", size: ARCHIVE_BYTES, ...(lane === "bulk" && { lane }) },
      ...{ receivedAt: new Date().toISOString(), nonce: randomUUID() },
    }),
  )

/** Enqueues the backfill into the paused queue. Resolves to what Redis needs for each waiting job, in bytes. */
async function fill(bench: Bench, connection: Redis, arm: Arm): Promise<number> {
  bench.say(`  enqueueing ${BULK} bulk archives`)
  await pauseQueue(connection, arm.workers.queue)
  const used = async () => Number(/^used_memory:(\d+)/m.exec(await connection.info("memory"))![1])
  const before = await used()
  for (let done = 0; done < BULK; done += 1_000)
    await Promise.all(Array.from({ length: 1_000 }, () => enqueue(bench, arm, randomUUID(), "bulk")))
  return ((await used()) - before) / BULK
}

async function measure(bench: Bench, arm: Arm, count: number): Promise<Round> {
  const milliseconds: number[] = []
  const ends: Promise<void>[] = []
  const bulkBefore = arm.bulk
  const startedAt = performance.now()
  for (let sent = 0; sent < count; sent++) {
    await sleep((-Math.log(1 - Math.random()) * 1_000) / PER_SECOND)
    const archiveId = randomUUID()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const sentAt = performance.now()
    const late = setTimeout(reject, LATE_MS, new Error(`a live archive was not done in ${LATE_MS} ms`))
    arm.committed.set(archiveId, () => {
      clearTimeout(late)
      milliseconds.push(performance.now() - sentAt)
      resolve()
    })
    promise.catch(() => {})
    ends.push(promise)
    await enqueue(bench, arm, archiveId, "live")
  }
  await Promise.all(ends)
  const seconds = (performance.now() - startedAt) / 1_000
  const [half, most] = [50, 99].map((percent) => percentileOf(milliseconds, percent).toFixed(0))
  bench.say(`  ${arm.name}: p50 ${half} ms, p99 ${most} ms`)
  return { milliseconds, bulkPerSecond: (arm.bulk - bulkBefore) / seconds }
}

async function wrongOutputs(bench: Bench, { size, crc32c }: Digest): Promise<string[]> {
  const { objects } = await bench.endpoint.written()
  const archives = objects.filter(({ key }) => key.startsWith("decrypted/") && key.endsWith("/archive.ts"))
  const wrong = archives.filter((object) => object.size !== size || object.crc32c !== crc32c)
  if (archives.length === 0) return ["no archive was written"]
  return wrong.length > 0 ? [`${wrong.length} of ${archives.length} archives are wrong`] : []
}

async function forget(connection: Redis, queue: string): Promise<void> {
  for await (const keys of connection.scanStream({ match: `${queuePrefix(queue)}*`, count: 1_000 }))
    if (keys.length > 0) await connection.unlink(keys)
}

interface Measured {
  readonly empty: Arm
  readonly full: Arm
  readonly rounds: ReadonlyMap<Arm, readonly Round[]>
  readonly bytesPerJob: number
  readonly left: number
  readonly count: number
  readonly failures: readonly string[]
}

function report({ empty, full, rounds, bytesPerJob, left, count, failures }: Measured): Section {
  const percentile = (arm: Arm, percent: number) =>
    percentileOf(
      rounds.get(arm)!.flatMap(({ milliseconds }) => milliseconds),
      percent,
    )
  const ratio = (percent: number) => percentile(full, percent) / percentile(empty, percent)
  const rowOf = (arm: Arm) => [
    arm.name,
    ...[50, 90, 99, 100].map((percent) => percentile(arm, percent).toFixed(0)),
    show(spreadOf(rounds.get(arm)!.map(({ bulkPerSecond }) => bulkPerSecond)), 1),
  ]
  return {
    conditions: `Live archives of ${mebibytes(ARCHIVE_BYTES)}, ${PER_SECOND} a second at random moments, ${count} in each round: from the moment before a callback's job is enqueued to the worker's line "archive committed". ${PROCESSES} workers for each queue. The endpoint delays each response by ${ROUND_TRIP_MS} ms. The queues take turns, and the full one is paused meanwhile: in the other's turn no bulk archive runs. ${left} bulk archives were still waiting at the end.`,
    columns: ["", "p50 ms", "p90 ms", "p99 ms", "slowest ms", "bulk archives/s meanwhile"],
    rows: [rowOf(empty), rowOf(full)],
    targets: [
      {
        claim: `p99 ≤ ${LIMIT}× that of an empty queue`,
        measured: `${ratio(99).toFixed(2)}× (p50: ${ratio(50).toFixed(2)}×)`,
        reached: ratio(99) <= LIMIT,
      },
      {
        claim: "≤ 3,000 bytes of Redis for a waiting job",
        measured: `${Math.round(bytesPerJob).toLocaleString("en")} bytes`,
        reached: bytesPerJob <= 3_000,
      },
    ],
    settings: [["workers", full.workers.settings]],
    failures,
  }
}
