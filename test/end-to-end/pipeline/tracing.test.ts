/** One trace from the callback to the commit, as a collector sees it: from real processes, over OTLP. */
import type { JobPayload } from "@unseal/queue/jobs/job"
import { afterAll, beforeAll, expect, test } from "vitest"
import {
  type OtlpReceiver,
  outline,
  type ReceivedSpan,
  startOtlpReceiver,
} from "../../harness/otlp-receiver.ts"
import { type AppProcess, startApp } from "../../harness/process.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const SOON = { timeout: 120_000, interval: 50 }

let system: WorkerSystem
let receiver: OtlpReceiver
let ingest: AppProcess
let worker: AppProcess

beforeAll(async () => {
  receiver = await startOtlpReceiver()
  system = await startWorkerSystem()
  ingest = await startApp("ingest", {
    env: {
      ...{ ...receiver.env, REDIS_URL: system.redis.url, UNSEAL_PROJECT_ID: PROJECT_ID },
      ...{ UNSEAL_CALLBACK_AUTH: "none", UNSEAL_ALLOW_UNAUTHENTICATED: "1" },
      ...{ UNSEAL_HOST: "127.0.0.1", UNSEAL_PORT: "0", UNSEAL_ADMIN_PORT: "0" },
    },
  })
  worker = await system.startWorker({ ...receiver.env, UNSEAL_PART_SIZE_BYTES: String(5 * MIB) })
})
afterAll(async () => {
  await ingest?.stop()
  await system?.close()
  await receiver?.close()
})

async function callBack(archive: Archive, headers: Record<string, string> = {}): Promise<number> {
  const { archiveId, encryptedPassword } = archive
  const answer = await fetch(`http://127.0.0.1:${ingest.ports.http}/callbacks/${PROJECT_ID}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({
      ...{ id: archiveId, event: "archive", status: "uploaded", partnerId: Number(PROJECT_ID) },
      password: encryptedPassword,
    }),
  })
  return answer.status
}

const of = ({ archiveId }: Archive, name: string, outcome?: string) =>
  receiver.spans.filter(
    ({ name: other, attributes }) =>
      other === name &&
      attributes["unseal.archive.id"] === archiveId &&
      (outcome === undefined || attributes["unseal.outcome"] === outcome),
  )

/** The archive's span of that name, once it has come. */
async function spanOf(archive: Archive, name: string, outcome?: string): Promise<ReceivedSpan> {
  await expect.poll(() => of(archive, name, outcome).length, SOON).toBeGreaterThan(0)
  return of(archive, name, outcome)[0]!
}

test("a callback's own trace goes through the queue to each part, each request and the commit", async () => {
  const archive = system.make(12 * MIB + 16)
  await system.upload(archive)
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
  system.s3.faults.add({ operation: "GetObject", key: archive.key, after: 1, action: { status: 500 } })
  system.s3.faults.add({ operation: "UploadPart", key: archive.key, action: { reset: true } })
  expect(await callBack(archive, { traceparent: `00-${traceId}-${spanId}-01`, tracestate: "vendor=1" })).toBe(
    202,
  )

  const run = await spanOf(archive, "process unseal", "committed")
  const trace = receiver.spans.filter((span) => span.traceId === traceId)
  const root = trace.find(({ parentSpanId }) => parentSpanId === spanId)!
  const ids = { "unseal.archive.id": archive.archiveId, "unseal.project.id": PROJECT_ID }
  expect(root).toMatchObject({
    ...{ name: "POST /callbacks/:projectId", kind: 2, service: "unseal-ingest" },
    attributes: {
      ...{ ...ids, "http.request.method": "POST", "http.route": "/callbacks/:projectId" },
      ...{ "http.response.status_code": 202, "unseal.outcome": "enqueued" },
    },
  })
  const message = { "messaging.system": "bullmq", "messaging.destination.name": "unseal", ...ids }
  const send = trace.find(({ parentSpanId }) => parentSpanId === root.spanId)!
  expect(send).toMatchObject({
    ...{ name: "send unseal", kind: 4 },
    attributes: { ...message, "messaging.operation.type": "send", "unseal.outcome": "enqueued" },
  })
  expect(run).toMatchObject({
    ...{ kind: 5, parentSpanId: send.spanId, links: [`${traceId}-${send.spanId}`], failure: undefined },
    service: "unseal-worker",
    attributes: {
      ...{ ...message, "messaging.message.id": send.attributes["messaging.message.id"] },
      ...{ "messaging.operation.type": "process", "unseal.attempt": 1, "unseal.starts": 1 },
      ...{ "unseal.parts": 3, "unseal.archive.size": 12 * MIB + 16 },
    },
  })

  const below = outline(trace, run)
  const steps = new Set(below.filter((line) => /^ {2}\S/.test(line)).map((line) => line.trim()))
  for (const step of [
    ...["opening stores and keys", "looking at the source and the destination", "unwrapping the key"],
    ...["reading part 1", "reading part 2", "reading part 3", "beginning the upload"],
    ...["writing part 1", "writing part 2", "writing part 3"],
    ...["confirming the lock", "committing", "reading what was committed", "writing the record"],
  ])
    expect(steps, below.join("\n")).toContain(step)
  const requests = trace.filter(({ kind }) => kind === 3)
  for (const { attributes } of requests)
    expect(attributes).toMatchObject({
      ...{ "server.address": "127.0.0.1", "server.port": system.s3.port, "url.scheme": "http" },
      "http.request.method": expect.stringMatching(/^(GET|HEAD|PUT|POST)$/),
    })
  const stepOf = ({ parentSpanId }: ReceivedSpan) => trace.find(({ spanId }) => spanId === parentSpanId)!
  const seen = requests
    .map((span) => {
      const { "http.response.status_code": status, "http.request.resend_count": again } = span.attributes
      const { name, attributes } = stepOf(span)
      return `${name} ${attributes["unseal.part"] ?? ""}: ${span.name} ${status}${again ? ` again ${again}` : ""}`
    })
    .sort()
  expect(seen.filter((line) => /POST/.test(line))).toEqual([
    "beginning the upload : POST 200",
    "committing : POST 200",
  ])
  // A request that failed, and its repetition.
  const failed = requests.filter(({ failure }) => failure !== undefined)
  expect(failed.map(({ attributes }) => attributes["error.type"]).sort()).toEqual(["500", "ECONNRESET"])
  const resent = requests.filter(({ attributes }) => attributes["http.request.resend_count"] === 1)
  expect(resent.map(({ name, failure }) => [name, failure]).sort()).toEqual([
    ["GET", undefined],
    ["PUT", undefined],
  ])
  for (const span of trace) expect(span.end >= span.start, span.name).toBe(true)
  for (const span of trace)
    if (span !== root) expect(trace.map(({ spanId }) => spanId)).toContain(span.parentSpanId)

  const logged = (app: AppProcess) => app.log.filter((line) => line.archiveId === archive.archiveId)
  expect(logged(ingest).map((line) => line.traceId)).toEqual([traceId])
  expect(logged(worker).map(({ msg, traceId }) => [msg, traceId])).toEqual([
    ["archive started", traceId],
    ["archive committed", traceId],
  ])

  // Metrics lead to it.
  const accept = "application/openmetrics-text;version=1.0.0"
  for (const [{ ports }, names] of [
    [ingest, ["unseal_callback_seconds"]],
    [
      worker,
      [
        ...["unseal_archive_seconds", "unseal_archive_end_to_end_seconds"],
        ...["unseal_part_seconds", "unseal_queue_wait_seconds"],
      ],
    ],
  ] as const) {
    const metrics = await (
      await fetch(`http://127.0.0.1:${ports.admin}/metrics`, { headers: { accept } })
    ).text()
    for (const name of names)
      expect(metrics).toMatch(new RegExp(`^${name}_bucket\\{.*\\} \\d+ # \\{trace_id="${traceId}"\\} `, "m"))
  }
})

test("attempts, a suspension and a dead letter are runs of one trace, and a redrive begins another, with a link", async () => {
  const archive = system.make(752)
  await system.upload(archive)
  const { key } = archive
  const fault = system.s3.faults.add({
    ...{ operation: "PutObject" as const, key, times: 1_000 },
    action: { status: 403, code: "AccessDenied" },
  })
  expect(await callBack(archive)).toBe(202)
  const suspended = await spanOf(archive, "process unseal", "suspended")
  fault.remove()
  expect(suspended).toMatchObject({
    failure: "error",
    attributes: { "error.type": "ERR_STORE_DENIED", "unseal.side": "destination" },
  })
  const committed = await spanOf(archive, "process unseal", "committed")
  expect(committed.traceId).toBe(suspended.traceId)
  expect(committed.parentSpanId).toBe(suspended.parentSpanId)
  expect(Number(committed.attributes["unseal.starts"])).toBeGreaterThan(1)
  const send = await spanOf(archive, "send unseal")
  expect(receiver.spans.find(({ spanId }) => spanId === send.parentSpanId)?.parentSpanId).toBeUndefined()

  // Nobody has this key.
  const foreign = system.make(752)
  const lost = { ...foreign, encryptedPassword: Buffer.alloc(256, 7).toString("base64") }
  await system.upload(lost)
  expect(await callBack(lost)).toBe(202)
  const dead = await spanOf(lost, "process unseal", "dead-letter")
  expect(dead.attributes["error.type"]).toBe("ERR_NO_MATCHING_KEY")
  const unwrapping = receiver.spans.find(
    ({ name, parentSpanId }) => name === "unwrapping the key" && parentSpanId === dead.spanId,
  )
  expect(unwrapping?.attributes["error.type"]).toBe("ERR_NO_MATCHING_KEY")

  const redriven = await system.cli(["queue", "redrive", "--id", lost.archiveId], receiver.env)
  expect(redriven.code, redriven.stderr).toBe(0)
  await expect.poll(() => of(lost, "process unseal").length, SOON).toBe(2)
  const again = of(lost, "process unseal").find(({ spanId }) => spanId !== dead.spanId)!
  const resent = of(lost, "send unseal").find(({ service }) => service === "unseal-cli")!
  expect(resent).toMatchObject({
    parentSpanId: undefined,
    links: [`${dead.traceId}-${dead.parentSpanId}`],
    attributes: { "messaging.message.id": expect.stringMatching(/_r2$/) },
  })
  expect([again.traceId, again.parentSpanId]).toEqual([resent.traceId, resent.spanId])
  expect(again.traceId).not.toBe(dead.traceId)
})

test("a callback that comes again keeps the first one's trace, and a stranger's traceparent is not continued", async () => {
  const archive = system.make(752)
  const [first, second] = ["11".repeat(16), "22".repeat(16)]
  // Its object is late, so the job is there.
  expect(await callBack(archive, { traceparent: `00-${first}-${"33".repeat(8)}-01` })).toBe(202)
  expect(await callBack(archive, { traceparent: `00-${second}-${"44".repeat(8)}-01` })).toBe(200)
  await system.upload(archive)
  const run = await spanOf(archive, "process unseal", "committed")
  expect(run.traceId).toBe(first)
  expect(
    of(archive, "send unseal").map(({ traceId, attributes }) => [traceId, attributes["unseal.outcome"]]),
  ).toEqual([
    [first, "enqueued"],
    [second, "duplicate"],
  ])
  const waiting = of(archive, "process unseal", "waiting")
  for (const { traceId, failure } of waiting) expect([traceId, failure]).toEqual([first, undefined])

  const stranger = "55".repeat(16)
  const refused = await fetch(`http://127.0.0.1:${ingest.ports.http}/callbacks/${PROJECT_ID}9`, {
    method: "POST",
    headers: { "content-type": "application/json", traceparent: `00-${stranger}-${"66".repeat(8)}-01` },
    body: "{}",
  })
  expect(refused.status).toBe(401)
  const isRefused = ({ attributes }: ReceivedSpan) => attributes["http.response.status_code"] === 401
  await expect.poll(() => receiver.spans.some(isRefused), SOON).toBe(true)
  expect(receiver.spans.find(isRefused)).toMatchObject({ failure: undefined, parentSpanId: undefined })
  expect(receiver.bodies.join()).not.toContain(stranger)
})

test("jobs of earlier versions, and jobs with a damaged trace, are decrypted in traces of their own", async () => {
  for (const fields of [{}, { traceparent: "damaged" } as Partial<JobPayload>]) {
    const archive = system.make(752)
    await system.upload(archive)
    const jobId = await system.enqueue(archive)
    if (fields.traceparent !== undefined) {
      const hash = `{unseal}:unseal:${jobId}`
      const data = JSON.parse((await system.client.hget(hash, "data")) ?? "{}") as object
      await system.client.hset(hash, "data", JSON.stringify({ ...data, ...fields }))
    }
    const run = await spanOf(archive, "process unseal", "committed")
    expect([run.parentSpanId, run.links]).toEqual([undefined, []])
  }
})

test("a collector that never answers delays no archive and no end", async () => {
  const silent = await startOtlpReceiver(() => {})
  try {
    const archive = system.make(6 * MIB)
    await system.upload(archive)
    expect(await worker.stop()).toBe(0)
    const deaf = await system.startWorker({ ...silent.env, UNSEAL_PART_SIZE_BYTES: String(5 * MIB) })
    await system.enqueue(archive)
    await expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)
    await expect.poll(() => silent.requests(), SOON).toBeGreaterThan(0)
    expect(await deaf.stop()).toBe(0)
    expect(deaf.log.at(-1)?.msg).toBe("stopped")
    const lines = deaf.log.filter(({ msg }) => msg === "spans are lost")
    expect(lines).toEqual([expect.objectContaining({ level: "warn", reason: "the process ends" })])
    expect(Number(lines[0]!.lost)).toBeGreaterThan(10)
  } finally {
    await silent.close()
  }
})
