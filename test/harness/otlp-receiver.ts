/** A collector of traces: it takes OTLP over HTTP, as JSON, and shows what it received as trees. */
import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"

export interface ReceivedSpan {
  readonly name: string
  /** As in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  readonly links: readonly string[]
  /** `error` with its message, or nothing. */
  readonly failure: string | undefined
  readonly service: string
  /** Nanoseconds since the epoch. */
  readonly start: bigint
  readonly end: bigint
}

export interface OtlpReceiver {
  readonly url: string
  /** The environment of a process that sends its spans here, soon. */
  readonly env: Readonly<Record<string, string>>
  readonly spans: readonly ReceivedSpan[]
  /** Every body that was received. */
  readonly bodies: readonly string[]
  requests(): number
  close(): Promise<void>
}

interface Value {
  readonly stringValue?: string
  readonly intValue?: string | number
  readonly doubleValue?: number
  readonly boolValue?: boolean
}
interface Attribute {
  readonly key: string
  readonly value: Value
}
interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly {
      readonly spans: readonly (Omit<ReceivedSpan, "attributes" | "links" | "service"> & {
        readonly attributes: readonly Attribute[]
        readonly links?: readonly { readonly traceId: string; readonly spanId: string }[]
        readonly status: { readonly code?: number; readonly message?: string }
        readonly startTimeUnixNano: string
        readonly endTimeUnixNano: string
      })[]
    }[]
  }[]
}

/** Starts a collector. `answer` replaces its 200; it may never answer. */
export async function startOtlpReceiver(
  answer: (response: ServerResponse) => void = (response) =>
    void response.writeHead(200, { "content-type": "application/json" }).end("{}"),
): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = []
  const bodies: string[] = []
  let requests = 0
  const server = createServer(async (request, response) => {
    requests++
    const body = await text(request).catch(() => "")
    bodies.push(body)
    spans.push(...spansIn(body))
    answer(response)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    ...{ url, spans, bodies },
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    },
    requests: () => requests,
    async close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function spansIn(body: string): ReceivedSpan[] {
  if (!body.startsWith("{")) return []
  return (JSON.parse(body) as Request).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...{ name: span.name, kind: span.kind, traceId: span.traceId, spanId: span.spanId },
        parentSpanId: span.parentSpanId || undefined,
        attributes: recordOf(span.attributes),
        links: (span.links ?? []).map(({ traceId, spanId }) => `${traceId}-${spanId}`),
        failure:
          span.status.code === 2
            ? `error${span.status.message ? `: ${span.status.message}` : ""}`
            : undefined,
        service: String(recordOf(resource.attributes)["service.name"]),
        start: BigInt(span.startTimeUnixNano),
        end: BigInt(span.endTimeUnixNano),
      })),
    ),
  )
}

const recordOf = (attributes: readonly Attribute[]) =>
  Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue, doubleValue, boolValue } }) => [
      key,
      stringValue ?? (intValue === undefined ? (doubleValue ?? boolValue) : Number(intValue)),
    ]),
  )

/** `spans` below `root` as an indented outline in the order of their starts; parts and failures are shown. */
export function outline(spans: readonly ReceivedSpan[], root: ReceivedSpan, indent = ""): string[] {
  const { "unseal.part": part, "http.response.status_code": status, "error.type": error } = root.attributes
  const more = [part === undefined ? "" : ` ${part}`, status ? ` ${status}` : "", error ? ` !${error}` : ""]
  const below = spans
    .filter(({ parentSpanId }) => parentSpanId === root.spanId)
    .sort((one, other) => (one.start < other.start ? -1 : one.start > other.start ? 1 : 0))
  return [
    `${indent}${root.name}${more.join("")}`,
    ...below.flatMap((span) => outline(spans, span, `${indent}  `)),
  ]
}
