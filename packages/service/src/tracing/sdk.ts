/** OpenTelemetry's SDK behind the interface of tracing.ts. Nothing else imports it, and it is imported only when tracing is on. */
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import {
  createTraceState,
  DiagLogLevel,
  diag,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api"
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace"
import { withoutQueries } from "../log/error-serializer.ts"
import { type Logger, rateLimited } from "../log/logger.ts"
import { VERSION } from "../version.ts"
import type { Attributes, SpanOptions, TraceContext, TraceSpan, Tracing } from "./contract.ts"
import { countingLosses } from "./export.ts"
import type { Protocol, TracingSettings } from "./settings.ts"

/** How long the end of a process waits for the collector. With the 5 s of a worker's runs it stays below the 8 s of a stop. */
const FLUSH_MS = 2_000
const COMPLAINTS_PER_SECOND = 1

/** Starts tracing for the process `name`. `exporter` replaces the one that the settings name. */
export async function createTracing(
  name: string,
  settings: TracingSettings,
  logger: Logger,
  exporter?: SpanExporter,
): Promise<Tracing> {
  const limited = rateLimited(logger, COMPLAINTS_PER_SECOND)
  const complain = (text: string) =>
    limited("warn", "opentelemetry", { text: withoutQueries(text) }, "opentelemetry printed a warning")
  const silent = () => {}
  diag.setLogger(
    { error: complain, warn: complain, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  const { batch, limits } = settings
  const processor = countingLosses(
    exporter ?? (await openExporter(settings.protocol)),
    batch.maxQueueSize,
    (counted) => new BatchSpanProcessor({ ...batch, exporter: counted }),
    logger,
  )
  const provider = new TracerProvider({
    resource: resourceOf(name),
    sampler: samplerOf(settings),
    spanLimits: limits,
    spanProcessors: [processor],
  })
  const tracer = provider.getTracer("unseal", VERSION)
  return {
    continues: settings.continues,
    begin: (title, options) => beginSpan(tracer, title, options, undefined),
    async close() {
      const late = new AbortController()
      const flushed = provider.shutdown().catch((err: unknown) => logger.warn({ err }, "spans are lost"))
      await Promise.race([flushed, sleep(FLUSH_MS, undefined, { signal: late.signal, ref: false })])
      late.abort()
      if (processor.waiting > 0)
        logger.warn({ lost: processor.waiting, reason: "the process ends" }, "spans are lost")
    },
  }
}

async function openExporter(protocol: Protocol): Promise<SpanExporter> {
  // They read endpoint, headers, certificates, compression and timeout from the environment themselves.
  const { OTLPTraceExporter } =
    protocol === "http/json"
      ? await import("@opentelemetry/exporter-trace-otlp-http")
      : await import("@opentelemetry/exporter-trace-otlp-proto")
  return new OTLPTraceExporter()
}

/** OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME take precedence. */
const resourceOf = (name: string) =>
  defaultResource()
    .merge(
      resourceFromAttributes({
        "service.name": `unseal-${name}`,
        "service.version": VERSION,
        "service.instance.id": randomUUID(),
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }))

function samplerOf({ sampler, ratio }: TracingSettings): Sampler {
  const roots = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  }
  const root = sampler.replace("parentbased_", "") as keyof typeof roots
  const own = roots[root]()
  return root === sampler ? own : new ParentBasedSampler({ root: own })
}

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const

function beginSpan(
  tracer: Tracer,
  name: string,
  { kind, attributes = {}, parent, links = [], startedAt }: SpanOptions = {},
  above: SpanContext | undefined,
): TraceSpan {
  const of = above ?? (parent && parseContext(parent))
  const span = tracer.startSpan(
    name,
    {
      kind: KINDS[kind ?? "internal"],
      attributes: given(attributes),
      links: links.flatMap<Link>((link) => {
        const context = parseContext(link)
        return context === undefined ? [] : [{ context }]
      }),
      ...(startedAt !== undefined && { startTime: startedAt }),
    },
    of === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, of),
  )
  return traceSpan(tracer, span)
}

function traceSpan(tracer: Tracer, span: Span): TraceSpan {
  const context = span.spanContext()
  const { traceId, spanId, traceFlags } = context
  return {
    ...{ traceId, spanId, sampled: span.isRecording() },
    get context() {
      const tracestate = context.traceState?.serialize()
      return {
        traceparent: `00-${traceId}-${spanId}-${(traceFlags & 1).toString().padStart(2, "0")}`,
        ...(tracestate && { tracestate }),
      }
    },
    begin: (name, options) => beginSpan(tracer, name, options, context),
    set: (attributes) => void span.setAttributes(given(attributes)),
    fail(type) {
      span.setAttribute("error.type", type)
      span.setStatus({ code: SpanStatusCode.ERROR })
    },
    // The monotonic clock: the SDK's own default for a span with a given start is the wall clock.
    end: () => span.end(performance.now()),
  }
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

function parseContext({ traceparent, tracestate }: TraceContext): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return {
    ...{ traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true },
    ...(tracestate && { traceState: createTraceState(tracestate) }),
  }
}

const given = (attributes: Attributes) =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as Record<
    string,
    string | number | boolean
  >
