/**
 * The variables of OpenTelemetry, by their specification. They keep their own names, as those of the stores' SDKs do. A value
 * that can't be used never keeps a process from its work. It is a warning, as the specification demands.
 */
import type { Environment } from "../settings/environment.ts"

export type Protocol = "http/protobuf" | "http/json"

export type SamplerName =
  | "always_on"
  | "always_off"
  | "traceidratio"
  | "parentbased_always_on"
  | "parentbased_always_off"
  | "parentbased_traceidratio"

export interface TracingSettings {
  readonly protocol: Protocol
  readonly sampler: SamplerName
  /** The share of traces that `traceidratio` takes, 0 to 1. */
  readonly ratio: number
  /** Whether a callback's own `traceparent` is continued. */
  readonly continues: boolean
  readonly batch: {
    readonly maxQueueSize: number
    readonly maxExportBatchSize: number
    readonly scheduledDelayMillis: number
    readonly exportTimeoutMillis: number
  }
  readonly limits: { readonly attributeCountLimit?: number; readonly attributeValueLengthLimit?: number }
}

const SAMPLERS: readonly SamplerName[] = [
  ...(["always_on", "always_off", "traceidratio"] as const),
  ...(["parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"] as const),
]
const PROTOCOLS: readonly Protocol[] = ["http/protobuf", "http/json"]
const ENDPOINTS = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
const OFF = "tracing is off"

/**
 * The settings of tracing in `env`; `null` if it is off. It is on once a variable says where spans go: an endpoint, or
 * `OTEL_TRACES_EXPORTER=otlp`. Each warning is a clause, without values that may be secret.
 */
export function readTracing(env: Environment): {
  readonly settings: TracingSettings | null
  readonly warnings: readonly string[]
} {
  const warnings: string[] = []
  const textOf = (name: string) => env[name]?.trim() || undefined
  const listOf = (name: string) => textOf(name)?.split(",").map((item) => item.trim()).filter(Boolean) // biome-ignore format: one line

  /** The first of `names` that is a whole number of at least `min`. */
  function integerOf(names: readonly string[], min: number): number | undefined {
    for (const name of names) {
      const text = textOf(name)
      if (text === undefined) continue
      if (/^\d{1,10}$/.test(text) && Number(text) >= min) return Number(text)
      warnings.push(`${name} must be a whole number from ${min}: the default is used`)
    }
    return undefined
  }

  function isOn(): boolean {
    const disabled = textOf("OTEL_SDK_DISABLED")?.toLowerCase()
    if (disabled === "true") return false
    if (disabled !== undefined && disabled !== "false")
      warnings.push("OTEL_SDK_DISABLED must be true or false: false is assumed")
    const exporters = listOf("OTEL_TRACES_EXPORTER")
    if (exporters === undefined) return ENDPOINTS.some((name) => textOf(name) !== undefined)
    const others = exporters.filter((name) => name !== "otlp" && name !== "none")
    const exports = exporters.includes("otlp")
    if (others.length > 0)
      warnings.push(
        `OTEL_TRACES_EXPORTER: spans go out by otlp only, so ${others.join(", ")} is ignored${exports ? "" : `; ${OFF}`}`,
      )
    return exports
  }

  function protocolOf(): Protocol | null {
    const name = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"].find(textOf)
    const given = name === undefined ? PROTOCOLS[0]! : textOf(name)!
    const protocol = PROTOCOLS.find((known) => known === given)
    if (protocol !== undefined) return protocol
    warnings.push(
      `${name} is ${given}, and must be ${PROTOCOLS.join(" or ")}, to the collector's port for HTTP (4318): ${OFF}`,
    )
    return null
  }

  function hasGoodEndpoint(): boolean {
    const name = ENDPOINTS.find(textOf)
    if (name === undefined || /^https?:$/.test(URL.parse(textOf(name)!)?.protocol ?? "")) return true
    warnings.push(`${name} must be a URL with http:// or https://: ${OFF}`)
    return false
  }

  function samplerOf(): Pick<TracingSettings, "sampler" | "ratio"> {
    const given = textOf("OTEL_TRACES_SAMPLER") ?? "parentbased_always_on"
    const sampler = SAMPLERS.find((name) => name === given)
    if (sampler === undefined) {
      warnings.push(`OTEL_TRACES_SAMPLER must be one of ${SAMPLERS.join(", ")}: every trace is sampled`)
      return { sampler: "parentbased_always_on", ratio: 1 }
    }
    const text = textOf("OTEL_TRACES_SAMPLER_ARG")
    if (text === undefined || !sampler.endsWith("ratio")) return { sampler, ratio: 1 }
    const ratio = Number(text)
    if (ratio >= 0 && ratio <= 1) return { sampler, ratio }
    warnings.push("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1: 1 is used")
    return { sampler, ratio: 1 }
  }

  if (!isOn()) return { settings: null, warnings }
  const protocol = protocolOf()
  if (protocol === null || !hasGoodEndpoint()) return { settings: null, warnings }
  const maxQueueSize = integerOf(["OTEL_BSP_MAX_QUEUE_SIZE"], 1) ?? 2_048
  const attributeCountLimit = integerOf(["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"], 1)
  const attributeValueLengthLimit = integerOf(
    ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"],
    1,
  )
  const settings = {
    protocol,
    ...samplerOf(),
    continues: listOf("OTEL_PROPAGATORS")?.includes("tracecontext") ?? true,
    batch: {
      maxQueueSize,
      maxExportBatchSize: Math.min(integerOf(["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], 1) ?? 512, maxQueueSize),
      scheduledDelayMillis: integerOf(["OTEL_BSP_SCHEDULE_DELAY"], 0) ?? 5_000,
      exportTimeoutMillis: integerOf(["OTEL_BSP_EXPORT_TIMEOUT"], 1) ?? 30_000,
    },
    limits: {
      ...(attributeCountLimit !== undefined && { attributeCountLimit }),
      ...(attributeValueLengthLimit !== undefined && { attributeValueLengthLimit }),
    },
  }
  return { settings, warnings }
}
