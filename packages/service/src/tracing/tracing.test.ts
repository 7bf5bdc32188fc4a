import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { createLogger } from "../log/logger.ts"
import type { Tracing } from "./contract.ts"
import { createTracing } from "./sdk.ts"
import { createSendTracer } from "./send.ts"
import { readTracing } from "./settings.ts"
import { startTracing } from "./tracing.ts"

const ON = { OTEL_TRACES_EXPORTER: "otlp" }
const TRACE = "0af7651916cd43dd8448eb211c80319c"
const PARENT = { traceparent: `00-${TRACE}-b7ad6b7169203331-01`, tracestate: "vendor=1" }

let lines: Record<string, unknown>[]
const logger = () => createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) })
let exported: ReadableSpan[]

beforeEach(() => {
  lines = []
  exported = []
})
afterEach(() => vi.unstubAllEnvs())

/** Keeps what it gets, also after its end. */
const keeping: SpanExporter = {
  export(spans, done) {
    exported.push(...spans)
    done({ code: 0 })
  },
  shutdown: async () => {},
}

const start = (env: Record<string, string> = {}, exporter: SpanExporter = keeping): Promise<Tracing> =>
  createTracing("test", readTracing({ ...ON, ...env }).settings!, logger(), exporter)

describe("a span", () => {
  it("continues the trace that it is given, with its state, and hands it on", async () => {
    const tracing = await start()
    const span = tracing.begin("run", {
      parent: PARENT,
      kind: "consumer",
      attributes: { a: 1, b: undefined },
    })
    const below = span.begin("step")
    expect(span.traceId).toBe(TRACE)
    expect(span.context).toEqual({
      traceparent: `00-${TRACE}-${span.spanId}-01`,
      tracestate: "vendor=1",
    })
    below.fail("ERR_STORE_DENIED")
    below.end()
    span.end()
    await tracing.close()
    expect(exported.map(({ name, parentSpanContext }) => [name, parentSpanContext?.spanId])).toEqual([
      ["step", span.spanId],
      ["run", "b7ad6b7169203331"],
    ])
    expect(exported[0]).toMatchObject({
      attributes: { "error.type": "ERR_STORE_DENIED" },
      status: { code: 2 },
    })
    expect(exported[1]?.attributes).toEqual({ a: 1 })
  })

  it.each([
    "damaged",
    `ff-${TRACE}-b7ad6b7169203331-01`,
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
  ])("begins a trace of its own where the given one is not valid: %s", async (traceparent) => {
    const tracing = await start()
    const span = tracing.begin("run", { parent: { traceparent }, links: [{ traceparent }] })
    expect(span.traceId).not.toBe(TRACE)
    span.end()
    await tracing.close()
    expect(exported[0]).toMatchObject({ parentSpanContext: undefined, links: [] })
  })

  it("is not exported where its parent is not sampled, and hands that on", async () => {
    const tracing = await start()
    const span = tracing.begin("run", { parent: { traceparent: PARENT.traceparent.replace(/01$/, "00") } })
    expect(span).toMatchObject({ sampled: false, traceId: TRACE })
    expect(span.context.traceparent).toMatch(/-00$/)
    const below = span.begin("step")
    below.end()
    span.end()
    await tracing.close()
    expect(exported).toEqual([])
  })

  it.each([
    ["always_off", false],
    ["always_on", true],
    ["traceidratio", false],
    ["parentbased_traceidratio", false],
    ["parentbased_always_off", false],
  ])("that begins a trace is sampled as OTEL_TRACES_SAMPLER=%s says", async (sampler, sampled) => {
    const tracing = await start({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: "0" })
    expect(tracing.begin("run").sampled).toBe(sampled)
    await tracing.close()
  })

  it("takes its times from a clock that nobody sets, however it began", async () => {
    const tracing = await start()
    const startedAt = performance.now() - 1_000
    const given = tracing.begin("given", { startedAt })
    const own = tracing.begin("own")
    const wallClock = vi.spyOn(Date, "now").mockReturnValue(0)
    given.end()
    own.end()
    wallClock.mockRestore()
    await tracing.close()
    const [first, second] = exported.map(({ duration: [seconds, nanos] }) => seconds + nanos / 1e9)
    expect(first).toBeGreaterThan(0.99)
    expect(first).toBeLessThan(60)
    expect(second).toBeGreaterThanOrEqual(0)
    expect(second).toBeLessThan(60)
  })

  it("comes from a service with the process's name, unless OTEL_SERVICE_NAME has another", async () => {
    const plain = await start()
    plain.begin("run").end()
    await plain.close()
    vi.stubEnv("OTEL_SERVICE_NAME", "archives")
    vi.stubEnv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    const named = await start()
    named.begin("run").end()
    await named.close()
    expect(exported.map(({ resource }) => resource.attributes["service.name"])).toEqual([
      "unseal-test",
      "archives",
    ])
    expect(exported[1]?.resource.attributes["deployment.environment.name"]).toBe("test")
  })
})

describe("a job on its way into the queue", () => {
  const job = { jobId: "j1", projectId: "100", archiveId: "a1" }

  it("carries the context of its producer span, which is linked with its earlier life", async () => {
    const tracing = await start()
    const send = createSendTracer(tracing, "unseal")
    const context = await send({ ...job, link: PARENT }, async (carried) => ({
      outcome: "enqueued",
      carried,
    }))
    await tracing.close()
    const [span] = exported
    expect(span).toMatchObject({
      ...{
        name: "send unseal",
        kind: 3,
        parentSpanContext: undefined,
        links: [{ context: { traceId: TRACE } }],
      },
      attributes: { "messaging.message.id": "j1", "unseal.archive.id": "a1", "unseal.outcome": "enqueued" },
    })
    const { traceId, spanId } = span!.spanContext()
    expect(context.carried.traceparent).toBe(`00-${traceId}-${spanId}-01`)
  })

  it("has a failed span if it was refused, without the message, and the refusal goes on", async () => {
    const tracing = await start()
    const refusal = new TypeError("canary")
    const send = createSendTracer(tracing, "unseal")
    await expect(send({ ...job, parent: PARENT }, () => Promise.reject(refusal))).rejects.toBe(refusal)
    await tracing.close()
    expect(exported[0]).toMatchObject({ status: { code: 2 }, attributes: { "error.type": "TypeError" } })
    expect(JSON.stringify(exported[0]!.attributes) + exported[0]!.status.message).not.toContain("canary")
  })
})

describe("lost spans", () => {
  it("are reported once, and so is the end of the trouble, with their number", async () => {
    let code = 1
    const exporter: SpanExporter = {
      export: (_, done) => done(code === 0 ? { code } : { code, error: new Error("refused") }),
      shutdown: async () => {},
    }
    const tracing = await start({ OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "1" }, exporter)
    const one = async () => {
      tracing.begin("run").end()
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (let times = 0; times < 3; times++) await one()
    await expect.poll(() => lines.length).toBe(1)
    code = 0
    await one()
    await expect.poll(() => lines.length).toBe(2)
    expect(lines).toMatchObject([
      { level: "warn", msg: "spans are lost", lost: 1, err: { message: "refused" } },
      { level: "info", msg: "spans are exported again", lost: 3 },
    ])
    await tracing.close()
  })

  it("are those that find the queue full, whose bound holds", async () => {
    const held: { spans: ReadableSpan[]; done: () => void }[] = []
    const exporter: SpanExporter = {
      export: (spans, done) => void held.push({ spans, done: () => done({ code: 0 }) }),
      shutdown: async () => {},
    }
    const env = { OTEL_BSP_MAX_QUEUE_SIZE: "10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "10" }
    const tracing = await start(env, exporter)
    for (let count = 0; count < 1_000; count++) tracing.begin("run").end()
    expect(lines).toMatchObject([
      { msg: "spans are lost", reason: "more spans end than the collector takes" },
    ])
    held[0]!.done()
    await expect.poll(() => held.length).toBe(2)
    held[1]!.done()
    await tracing.close()
    expect(held.flatMap(({ spans }) => spans)).toHaveLength(20)
    expect(lines.at(-1)).toMatchObject({ msg: "spans are exported again", lost: 980 })
  })
})

describe("over HTTP", () => {
  let server: Server
  let requests: number
  const listen = async (answer: (response: ServerResponse) => void): Promise<Record<string, string>> => {
    requests = 0
    server = createServer((request, response) => {
      requests++
      request.resume().on("end", () => answer(response))
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }
  afterEach(() => {
    server.close()
    server.closeAllConnections()
  })
  const over = async (env: Record<string, string>) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    return (await startTracing("test", env, logger()))!
  }

  it("a collector that refuses costs the spans, and says why", async () => {
    const tracing = await over(await listen((response) => response.writeHead(400).end("no")))
    tracing.begin("run").end()
    await tracing.close()
    expect(requests).toBe(1)
    expect(lines).toMatchObject([{ msg: "spans are lost", lost: 1, err: { code: "400" } }])
  })

  it("a collector that never answers is given up at the end, within a bound", async () => {
    const tracing = await over(await listen(() => {}))
    tracing.begin("run").end()
    await tracing.close()
    expect(requests).toBe(1)
    expect(lines).toEqual([
      expect.objectContaining({ msg: "spans are lost", lost: 1, reason: "the process ends" }),
    ])
  })

  it("nobody listens: the end does not wait for another try", async () => {
    const env = await listen(() => {})
    server.close()
    const tracing = await over(env)
    tracing.begin("run").end()
    await tracing.close()
    expect(lines.map(({ msg }) => msg)).toEqual(["spans are lost"])
  })
})

it("nothing of OpenTelemetry is loaded, and nothing said, where no variable asks for it", async () => {
  expect(await startTracing("test", {}, logger())).toBeUndefined()
  expect(lines).toEqual([])
})

it("a variable that can't be used is a line, and stops nothing", async () => {
  expect(await startTracing("test", { OTEL_TRACES_EXPORTER: "zipkin" }, logger())).toBeUndefined()
  expect(lines).toMatchObject([{ level: "warn", warning: expect.stringContaining("tracing is off") }])
})
