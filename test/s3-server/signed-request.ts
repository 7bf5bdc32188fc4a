/** Requests signed by the AWS SDK's signer and sent by hand, so that a test can alter them in between. */
import { createHash, createHmac } from "node:crypto"
import { once } from "node:events"
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http"
import { SignatureV4 } from "@smithy/signature-v4"

export const CREDENTIALS = { accessKeyId: "AKIDSERVERTEST", secretAccessKey: "a secret/with+signs" }

/** SHA-256, or its HMAC if there is a secret, with the interface that the signer requires. */
class Sha256 {
  readonly #hash

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash =
      secret === undefined
        ? createHash("sha256")
        : createHmac("sha256", typeof secret === "string" ? secret : viewOf(secret))
  }

  update(data: Uint8Array | string): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {
    throw new Error("a finished digest starts anew only in a new object")
  }
}

const viewOf = (data: ArrayBuffer | ArrayBufferView): Uint8Array =>
  ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data)

export interface PlainRequest {
  readonly method: string
  /** Encoded, ready to be sent. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

export interface SigningOptions {
  readonly secretAccessKey?: string
  readonly accessKeyId?: string
  readonly region?: string
  readonly signingDate?: Date
}

export interface SendableRequest {
  readonly method: string
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

const signer = (options: SigningOptions): SignatureV4 =>
  new SignatureV4({
    service: "s3",
    region: options.region ?? "us-east-1",
    credentials: { ...CREDENTIALS, ...options },
    uriEscapePath: false,
    sha256: Sha256,
  })

const toSign = (url: string, { method, path, query = {}, headers = {}, body }: PlainRequest) => {
  const { protocol, hostname, port, host } = new URL(url)
  return {
    method,
    path,
    query: { ...query },
    headers: { host, ...headers },
    body,
    protocol,
    hostname,
    port: Number(port),
  }
}

const targetOf = (path: string, query: object | undefined): string => {
  const text = Object.entries(query ?? {})
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
    .join("&")
  return text === "" ? path : `${path}?${text}`
}

/** Signs in the `Authorization` header, payload hash included. */
export async function signed(
  url: string,
  request: PlainRequest,
  options: SigningOptions = {},
): Promise<SendableRequest> {
  const { method, path, query, headers } = await signer(options).sign(toSign(url, request), {
    ...(options.signingDate && { signingDate: options.signingDate }),
  })
  const { body } = request
  return { method, target: targetOf(path, query), headers, ...(body !== undefined && { body }) }
}

/** Signs in the query string, for `expiresIn` seconds. */
export async function presigned(
  url: string,
  request: PlainRequest,
  options: SigningOptions & { expiresIn?: number } = {},
): Promise<SendableRequest> {
  const { method, path, query } = await signer(options).presign(
    {
      ...toSign(url, request),
      headers: { host: new URL(url).host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
    },
    {
      expiresIn: options.expiresIn ?? 60,
      unhoistableHeaders: new Set(["host"]),
      ...(options.signingDate && { signingDate: options.signingDate }),
    },
  )
  const { body, headers } = request
  return {
    method,
    target: targetOf(path, query),
    headers: { host: new URL(url).host, ...headers },
    ...(body !== undefined && { body }),
  }
}

export interface PlainResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The code of an error document. */
  readonly code: string | undefined
}

/** Sends exactly this to the server that listens at `url`, whatever the `Host` header says. */
export async function send(url: string, request: SendableRequest): Promise<PlainResponse> {
  const { hostname, port } = new URL(url)
  const { method, target: path, headers, body } = request
  const outgoing = httpRequest({ hostname, port, method, path, headers, agent: false })
  outgoing.end(body)
  const [response] = (await once(outgoing, "response")) as [IncomingMessage]
  const received = Buffer.concat(await response.toArray())
  const code = /<Error>.*<Code>(\w+)<\/Code>/s.exec(received.toString("latin1"))?.[1]
  return { status: response.statusCode!, headers: response.headers, body: received, code }
}
