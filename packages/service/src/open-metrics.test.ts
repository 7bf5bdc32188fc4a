import { afterEach, expect, it } from "vitest"
import { startPrometheus } from "../../../test/harness/prometheus.ts"
import { startAdminServer } from "./admin.ts"
import { createLogger } from "./log/logger.ts"
import { createCounter, createGauge, createHistogram, createRegistry } from "./metrics.ts"

const TRACE = "0af7651916cd43dd8448eb211c80319c"
/** What Prometheus sends. */
const ACCEPT =
  "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3"

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function start() {
  const registry = createRegistry()
  const counter = createCounter(registry, {
    name: "test_things_total",
    help: 'Things, with a \\ and a "quote"',
    labels: { kind: () => ['a "quoted" one', "back\\slash", "plain"] },
  })
  const gauge = createGauge(registry, {
    name: "test_level",
    help: "A level",
    labels: {},
    overReplicas: "sum",
  })
  const histogram = createHistogram(registry, {
    name: "test_stage_seconds",
    help: "Seconds of a stage",
    labels: { stage: ["read", "write"] },
    buckets: [0.1, 1, 10],
  })
  const admin = await startAdminServer({
    ...{ port: 0, host: "127.0.0.1", registry, ready: async () => [] },
    logger: createLogger("test", "silent"),
  })
  closing.push(admin.close)
  const scrape = async (accept: string) => {
    const answer = await fetch(`http://127.0.0.1:${admin.port}/metrics`, { headers: { accept } })
    return { type: answer.headers.get("content-type"), text: await answer.text() }
  }
  return { registry, counter, gauge, histogram, port: admin.port, scrape }
}

/**
 * The samples of a text by their series, without exemplars. Of the process's own metrics only the names: a connection or a garbage
 * collection between two scrapes changes their values and adds series.
 */
const samplesIn = (text: string) => [...new Set(eachSample(text))]

const eachSample = (text: string) =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.replace(/ # \{.*$/, ""))
    .filter((line) => !line.startsWith("nodejs_gc_"))
    .map((line) => (/^(process|nodejs)_/.test(line) ? /^\w+/.exec(line)![0] : line))
    .map((line) => {
      // The order of labels has no meaning.
      const [, name, labels = "", rest] = /^(\w+)(?:\{(.*)\})?(.*)$/.exec(line)!
      return `${name}{${labels
        .split(/,(?=\w+=")/)
        .toSorted()
        .join()}}${rest}`
    })
    .toSorted()

it("stays Prometheus' own text until something was traced, whatever the client accepts", async () => {
  const { histogram, scrape } = await start()
  histogram.observe({ stage: "read" }, 0.5)
  expect(await scrape(ACCEPT)).toMatchObject({ type: expect.stringContaining("text/plain; version=0.0.4") })
})

it("has the same series and values in both forms, and exemplars in OpenMetrics", async () => {
  const { counter, gauge, histogram, scrape } = await start()
  counter.increase({ kind: 'a "quoted" one' }, 3)
  gauge.set({}, Number.POSITIVE_INFINITY)
  histogram.observe({ stage: "read" }, 0.5, TRACE)
  histogram.observe({ stage: "read" }, 99, "f".repeat(32))
  histogram.observe({ stage: "write" }, 0.1)
  const plain = await scrape("text/plain")
  const open = await scrape(ACCEPT)
  expect([plain.type, open.type]).toEqual([
    expect.stringContaining("text/plain"),
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
  ])
  expect(samplesIn(open.text)).toEqual(samplesIn(plain.text))
  expect(samplesIn(open.text).length).toBeGreaterThan(30)
  expect(open.text.endsWith("\n# EOF\n")).toBe(true)
  expect(open.text).toContain("# TYPE test_things counter\n")
  const exemplars = open.text.split("\n").filter((line) => line.includes(" # {"))
  expect(exemplars).toEqual([
    expect.stringMatching(
      /^test_stage_seconds_bucket\{le="1",stage="read"\} 1 # \{trace_id="0af7\w{28}"\} 0\.5 \d+\.\d{3}$/,
    ),
    expect.stringMatching(
      /^test_stage_seconds_bucket\{le="\+Inf",stage="read"\} 2 # \{trace_id="f{32}"\} 99 \d+\.\d{3}$/,
    ),
  ])
  // It has not changed what others get.
  expect(samplesIn((await scrape("text/plain")).text)).toEqual(samplesIn(plain.text))
})

it("is read by a real Prometheus: a bucket leads to a trace, and every series is the same as before", async () => {
  const { counter, histogram, port } = await start()
  counter.increase({ kind: "plain" }, 2)
  const prometheus = await startPrometheus(250, { exemplars: true })
  closing.push(prometheus.close)
  await prometheus.scrape([port])
  const soon = { timeout: 60_000, interval: 100 }
  const series = () => prometheus.query('count({__name__=~".+", job="unseal"})').catch(() => null)
  await expect.poll(() => prometheus.query('test_things_total{kind="plain"}'), soon).toBe(2)
  const before = await series()
  const sinceMs = Date.now()
  histogram.observe({ stage: "read" }, 0.5, TRACE)
  const found = async () => {
    const query = new URLSearchParams({
      ...{ query: 'test_stage_seconds_bucket{stage="read"}' },
      ...{ start: String(sinceMs / 1_000 - 60), end: String(sinceMs / 1_000 + 600) },
    })
    const answer = await fetch(`${prometheus.url}/api/v1/query_exemplars?${query}`)
    const { data } = (await answer.json()) as {
      data: { seriesLabels: { le: string }; exemplars: { labels: object; value: string }[] }[]
    }
    return data.map(({ seriesLabels, exemplars }) => [
      seriesLabels.le,
      exemplars[0]?.labels,
      exemplars[0]?.value,
    ])
  }
  await expect.poll(found, soon).toEqual([["1", { trace_id: TRACE }, "0.5"]])
  expect(await prometheus.query('test_stage_seconds_bucket{stage="read", le="1"}')).toBe(1)
  expect(await prometheus.query('test_things_total{kind="plain"}')).toBe(2)
  expect(await prometheus.query('up{job="unseal"}')).toBe(1)
  expect(await series()).toBe(before)
})
