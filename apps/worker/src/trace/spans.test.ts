import type { Step } from "@unseal/archive/decrypt/steps"
import { UnsealError } from "@unseal/archive/errors"
import type { ExchangeEnd } from "@unseal/archive/store/http/exchanges"
import type { Attributes, SpanOptions, TraceSpan } from "@unseal/service/tracing/contract"
import { beforeEach, describe, expect, it, vi } from "vitest"
import { createSpans, isTraced, RunSpan } from "./spans.ts"

interface Ended {
  readonly name: string
  readonly above: string
  readonly attributes: Attributes
  readonly failure: string | undefined
}

let ended: Ended[]
let run: RunSpan
const spans = createSpans()

function spanOf(name: string, above: string, { attributes = {} }: SpanOptions = {}): TraceSpan {
  const set = { ...attributes }
  let failure: string | undefined
  const path = `${above}/${name}`
  return {
    ...{ context: { traceparent: "" }, traceId: "", spanId: "", sampled: true },
    begin: (below, options) => spanOf(below, path, options),
    set: (more) => void Object.assign(set, more),
    fail(type) {
      failure = type
    },
    end: () => void ended.push({ name, above, attributes: set, failure }),
  }
}

beforeEach(() => {
  ended = []
  run = new RunSpan(spanOf("run", ""))
})

const reading = (part: number): Step => ({ name: "reading part", kind: "part", part })
const GET = {
  secure: true,
  host: "store",
  port: 443,
  method: "GET",
  target: "/bucket/key?X-Amz-Signature=canary",
}
/** A request that ends at once. */
const request = (end: ExchangeEnd = { status: 206 }, more: Partial<typeof GET> = {}) =>
  spans.onExchange({ ...GET, ...more })?.(end)

describe("a request", () => {
  it("is a span below its step, with nothing of its path or query", async () => {
    await spans.of(run, () => spans.within(reading(1), async () => request()))
    const [get, step] = ended
    expect(get).toEqual({
      ...{ name: "GET", above: "/run/reading part", failure: undefined },
      attributes: {
        ...{ "http.request.method": "GET", "server.address": "store", "server.port": 443 },
        ...{ "url.scheme": "https", "http.response.status_code": 206 },
      },
    })
    expect(step).toMatchObject({ name: "reading part", above: "/run", attributes: { "unseal.part": 1 } })
    expect(JSON.stringify(ended)).not.toMatch(/canary|bucket|key/)
  })

  it("counts how often it was made before in its step, which another step's request is not", async () => {
    await spans.of(run, () =>
      spans.within(reading(1), async () => {
        request({ status: 503 })
        request({ error: Object.assign(new Error("x"), { code: "ECONNRESET" }) })
        request({ status: 200 }, { method: "HEAD" })
        await spans.within(reading(2), async () => request())
        request()
      }),
    )
    const seen = ended
      .filter(({ name }) => name !== "reading part")
      .map(({ name, attributes, failure }) => [name, attributes["http.request.resend_count"], failure])
    expect(seen).toEqual([
      ["GET", undefined, "503"],
      ["GET", 1, "ECONNRESET"],
      ["HEAD", undefined, undefined],
      ["GET", undefined, undefined],
      ["GET", 2, undefined],
    ])
  })

  it.each([404, 412])("that is answered %d was a question, and has not failed", async (status) => {
    await spans.of(run, async () => request({ status }))
    expect(ended[0]).toMatchObject({
      failure: undefined,
      attributes: { "http.response.status_code": status },
    })
  })

  it("outside of a run, or of a run that is over, leaves no span", async () => {
    expect(spans.onExchange(GET)).toBeUndefined()
    await spans.of(run, async () => {
      run.isOver = true
      expect(spans.onExchange(GET)).toBeUndefined()
      await spans.within(reading(1), async () => request())
    })
    expect(ended).toEqual([])
  })

  it("ends once, however often it is told to", async () => {
    await spans.of(run, async () => {
      const end = spans.onExchange(GET)
      end?.({ status: 206 })
      end?.({ error: new Error("late") })
    })
    expect(ended).toHaveLength(1)
    expect(ended[0]?.failure).toBeUndefined()
  })
})

describe("a step", () => {
  it("returns and throws what its work does, and has the error's code", async () => {
    const error = new UnsealError("ERR_STORE_DENIED", "denied")
    await spans.of(run, async () => {
      expect(await spans.within(reading(1), async () => 7)).toBe(7)
      await expect(spans.within(reading(2), () => Promise.reject(error))).rejects.toBe(error)
    })
    expect(ended.map(({ failure }) => failure)).toEqual([undefined, "ERR_STORE_DENIED"])
  })

  it.each([
    { name: "waiting for memory", kind: "shared" },
    { name: "hashing part", kind: "once", part: 1 },
  ] as const)("that only waits for others leaves a span if it took time: $name", async (step) => {
    const now = vi.spyOn(performance, "now").mockReturnValue(1_000)
    await spans.of(run, async () => {
      await spans.within(step, async () => {})
      expect(ended).toEqual([])
      await spans.within(step, async () => void now.mockReturnValue(1_010))
      expect(ended).toMatchObject([{ name: step.name }])
    })
    now.mockRestore()
  })
})

describe("an archive of many parts", () => {
  it.each([
    [32, 32],
    [64, 48],
    [1_000, 111],
    [10_000, 163],
    [50_000, 200],
  ])("of %d parts traces %d", (count, traced) => {
    const parts = Array.from({ length: count }, (_, index) => index + 1)
    expect(parts.filter(isTraced)).toHaveLength(traced)
  })

  it("has no more spans than a run may have, and says how many it has left out", async () => {
    await spans.of(run, async () => {
      for (let part = 1; part <= 2_000; part++) await spans.within(reading(part), async () => request())
      for (let times = 0; times < 2_000; times++)
        await spans.within({ name: "looking", kind: "once" }, async () => {})
      expect(ended).toHaveLength(900)
      for (let times = 0; times < 2_000; times++) request({ status: 503 })
    })
    expect(ended).toHaveLength(1_000)
    expect(run).toMatchObject({ parts: 2_000 })
    expect(run.leftOut).toBeGreaterThan(2_000)
  })

  it("shows what goes wrong in a part that is not traced, and how it went on", async () => {
    await spans.of(run, () =>
      spans.within(reading(33), async () => {
        request({ status: 500 })
        request()
      }),
    )
    await expect(
      spans.of(run, () => spans.within(reading(35), () => Promise.reject(new Error("x")))),
    ).rejects.toThrow("x")
    expect(ended.map(({ name, failure }) => [name, failure])).toEqual([
      ["GET", "500"],
      ["GET", undefined],
      ["reading part", "Error"],
    ])
  })
})
