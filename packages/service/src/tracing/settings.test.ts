import { describe, expect, it } from "vitest"
import { readTracing } from "./settings.ts"

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" }

describe("tracing is on", () => {
  it.each([
    ["an endpoint", ENDPOINT],
    ["an endpoint for traces", { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://collector/v1/traces" }],
    ["the exporter otlp", { OTEL_TRACES_EXPORTER: "otlp" }],
    ["an endpoint, and an SDK that is not disabled", { ...ENDPOINT, OTEL_SDK_DISABLED: "false" }],
  ])("with %s", (_, env) => {
    const { settings, warnings } = readTracing(env)
    expect(settings).toMatchObject({ protocol: "http/protobuf", sampler: "parentbased_always_on", ratio: 1 })
    expect(warnings).toEqual([])
  })

  it("by the specification's defaults", () => {
    expect(readTracing(ENDPOINT).settings).toEqual({
      ...{ protocol: "http/protobuf", sampler: "parentbased_always_on", ratio: 1, continues: true },
      batch: {
        ...{ maxQueueSize: 2_048, maxExportBatchSize: 512 },
        ...{ scheduledDelayMillis: 5_000, exportTimeoutMillis: 30_000 },
      },
      limits: {},
    })
  })
})

describe("tracing is off, without a word,", () => {
  it.each([
    ["without any variable", {}],
    ["with empty ones", { OTEL_EXPORTER_OTLP_ENDPOINT: "", OTEL_TRACES_EXPORTER: " " }],
    ["with the exporter none", { ...ENDPOINT, OTEL_TRACES_EXPORTER: "none" }],
    ["with a disabled SDK", { ...ENDPOINT, OTEL_SDK_DISABLED: "TRUE" }],
    ["with a service name alone", { OTEL_SERVICE_NAME: "x", OTEL_TRACES_SAMPLER: "always_on" }],
  ])("%s", (_, env) => {
    expect(readTracing(env)).toEqual({ settings: null, warnings: [] })
  })
})

describe("a setting that can't be used", () => {
  it.each([
    [{ OTEL_TRACES_EXPORTER: "zipkin" }, /so zipkin is ignored; tracing is off$/],
    [{ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, /PROTOCOL is grpc, .*4318\): tracing is off$/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }, /must be a URL with http:\/\/ or https:\/\//],
  ])("turns tracing off, and says what to set: %o", (env, warning) => {
    const { settings, warnings } = readTracing(env)
    expect(settings).toBeNull()
    expect(warnings).toEqual([expect.stringMatching(warning)])
  })

  it.each([
    [{ OTEL_TRACES_EXPORTER: "console,otlp" }, "console is ignored"],
    [{ OTEL_TRACES_SAMPLER: "jaeger_remote" }, "OTEL_TRACES_SAMPLER must be one of"],
    [{ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "2" }, "from 0 to 1: 1 is used"],
    [{ OTEL_BSP_MAX_QUEUE_SIZE: "0" }, "OTEL_BSP_MAX_QUEUE_SIZE must be a whole number from 1"],
    [{ OTEL_SDK_DISABLED: "yes" }, "false is assumed"],
  ])("gets its default instead: %o", (env, warning) => {
    const { settings, warnings } = readTracing({ ...ENDPOINT, ...env })
    expect(settings).toMatchObject({ ratio: 1, batch: { maxQueueSize: 2_048 } })
    expect(warnings).toEqual([expect.stringContaining(warning)])
  })

  it("names no value that may be secret", () => {
    const { warnings } = readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: "ftp://user:canary@collector" })
    expect(warnings.join()).not.toContain("canary")
  })
})

it("values are those that the variables say", () => {
  const { settings } = readTracing({
    ...{ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json" },
    ...{ OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.25" },
    ...{ OTEL_BSP_MAX_QUEUE_SIZE: "100", OTEL_BSP_SCHEDULE_DELAY: "0", OTEL_PROPAGATORS: "b3, none" },
    ...{ OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "64", OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "9" },
  })
  expect(settings).toEqual({
    ...{ protocol: "http/json", sampler: "parentbased_traceidratio", ratio: 0.25, continues: false },
    batch: {
      ...{ maxQueueSize: 100, maxExportBatchSize: 100 },
      ...{ scheduledDelayMillis: 0, exportTimeoutMillis: 30_000 },
    },
    limits: { attributeCountLimit: 9, attributeValueLengthLimit: 64 },
  })
  const continuing = readTracing({ ...ENDPOINT, OTEL_PROPAGATORS: "baggage,tracecontext" })
  expect(continuing.settings?.continues).toBe(true)
})
