/**
 * AWS Signature Version 4 as S3 verifies it, on the request exactly as received (API reference, "Authenticating requests"): the
 * canonical path is encoded once and never normalised, every `x-amz-` header must be signed, and `x-amz-content-sha256` binds
 * the payload. It shares no code with any client, so that neither side hides the other's faults.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import { S3Error } from "../http/s3-error.ts"
import { encodeRfc3986, parseQuery, percentDecode, splitTarget } from "../http/uri.ts"

const ALGORITHM = "AWS4-HMAC-SHA256"
const MAX_SKEW_MS = 15 * 60_000
const MAX_PRESIGNED_SECONDS = 7 * 24 * 3600

export interface Credential {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The session token of a temporary credential; its requests must carry it. Long-lived credentials have none. */
  readonly sessionToken?: string
}

/** A request as node:http received it: the target undecoded, header names and values alternating. */
export interface WireRequest {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
}

/** Signs the chunks of an aws-chunked body. Each signature covers the one before it. */
export interface ChunkSigner {
  readonly seed: string
  chunk(previous: string, sha256: string): string
  trailer(previous: string, sha256: string): string
}

/** The value of `x-amz-content-sha256`, parsed. */
export type PayloadProof =
  | { readonly kind: "hash"; readonly sha256: string }
  | { readonly kind: "unsigned" }
  | { readonly kind: "unsigned-chunks" }
  | { readonly kind: "signed-chunks"; readonly trailer: boolean; readonly signer: ChunkSigner }

/** Who signed a request, and how its body is verified. */
export interface Authorization {
  readonly accessKeyId: string
  readonly proof: PayloadProof
}

interface Claim {
  readonly presigned: boolean
  readonly accessKeyId: string
  readonly scope: readonly [date: string, region: string, service: string, terminator: string]
  readonly signedHeaders: readonly string[]
  readonly signature: string
  readonly amzDate: string
}

const sha256 = (data: string): string => createHash("sha256").update(data, "latin1").digest("hex")
const hmac = (key: string | Buffer, data: string): Buffer =>
  createHmac("sha256", key).update(data, "latin1").digest()

/** Compares in constant time; the lengths are public. */
export function sameSignature(expected: string, given: string): boolean {
  const a = Buffer.from(expected, "latin1")
  const b = Buffer.from(given, "latin1")
  return a.length === b.length && timingSafeEqual(a, b)
}

/** Verifies a signature. Returns its signer and the proof for the body. `nowMs` is the server's clock. Throws `S3Error`. */
export function authorize(
  request: WireRequest,
  credentials: ReadonlyMap<string, Credential>,
  region: string,
  nowMs: number,
): Authorization {
  const { rawPath, rawQuery } = splitTarget(request.target)
  const query = parseQuery(rawQuery)
  const headers = joinHeaders(request.rawHeaders)

  const claim = readClaim(query, headers)
  const credential = credentials.get(claim.accessKeyId)
  if (credential === undefined) throw new S3Error("InvalidAccessKeyId")
  checkScope(claim, region)
  checkTime(claim, query, nowMs)
  checkSignedHeaders(claim, headers)
  const token = headers.get("x-amz-security-token") ?? new Map(query).get("X-Amz-Security-Token")
  if (token !== credential.sessionToken) throw new S3Error("InvalidToken")

  const content = headers.get("x-amz-content-sha256") ?? (claim.presigned ? "UNSIGNED-PAYLOAD" : undefined)
  if (content === undefined)
    throw new S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")

  const canonicalRequest = [
    request.method,
    percentDecode(rawPath).split("/").map(encodeRfc3986).join("/"),
    canonicalQuery(query),
    ...claim.signedHeaders.map((name) => `${name}:${headers.get(name) ?? ""}`),
    "",
    claim.signedHeaders.join(";"),
    content,
  ].join("\n")

  const scope = claim.scope.join("/")
  const signingKey = claim.scope.reduce<string | Buffer>(hmac, `AWS4${credential.secretAccessKey}`)
  const sign = (...lines: string[]): string => hmac(signingKey, lines.join("\n")).toString("hex")

  const expected = sign(ALGORITHM, claim.amzDate, scope, sha256(canonicalRequest))
  if (!sameSignature(expected, claim.signature)) throw new S3Error("SignatureDoesNotMatch")

  const emptySha256 = sha256("")
  const proof = readProof(content, {
    seed: expected,
    chunk: (previous, hash) =>
      sign(`${ALGORITHM}-PAYLOAD`, claim.amzDate, scope, previous, emptySha256, hash),
    trailer: (previous, hash) => sign(`${ALGORITHM}-TRAILER`, claim.amzDate, scope, previous, hash),
  })
  return { accessKeyId: claim.accessKeyId, proof }
}

/** The canonical form: names in lower case, values trimmed with runs of spaces collapsed, repeated headers joined. */
function joinHeaders(rawHeaders: readonly string[]): ReadonlyMap<string, string> {
  const joined = new Map<string, string>()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    const value = rawHeaders[i + 1]!.trim().replace(/ +/g, " ")
    const before = joined.get(name)
    joined.set(name, before === undefined ? value : `${before},${value}`)
  }
  return joined
}

function readClaim(query: readonly [string, string][], headers: ReadonlyMap<string, string>): Claim {
  const header = headers.get("authorization")
  const parameters = new Map(query)
  const presigned = parameters.has("X-Amz-Algorithm") || parameters.has("X-Amz-Signature")
  if (header !== undefined && presigned)
    throw new S3Error(
      "InvalidArgument",
      "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
    )
  if (header !== undefined) return readHeader(header, headers)
  if (!presigned) throw new S3Error("AccessDenied")

  const missing = (name: string): never => {
    throw new S3Error(
      "AuthorizationQueryParametersError",
      `Query-string authentication version 4 requires the ${name} parameter`,
    )
  }
  const parameter = (name: string): string => parameters.get(name) ?? missing(name)
  if (parameter("X-Amz-Algorithm") !== ALGORITHM)
    throw new S3Error("AuthorizationQueryParametersError", `X-Amz-Algorithm only supports "${ALGORITHM}"`)
  return {
    presigned: true,
    ...readCredential(parameter("X-Amz-Credential"), "AuthorizationQueryParametersError"),
    signedHeaders: parameter("X-Amz-SignedHeaders").split(";"),
    signature: parameter("X-Amz-Signature"),
    amzDate: parameter("X-Amz-Date"),
  }
}

/** The access key that a request claims. Nothing is verified yet. */
export function claimedAccessKey(target: string, authorization: string | undefined): string | undefined {
  const claim =
    /[ ,]Credential=([^/,]+)\//.exec(authorization ?? "") ??
    /[?&]X-Amz-Credential=([^/&%]+)(?:\/|%2F)/i.exec(target)
  return claim?.[1]
}

function readHeader(header: string, headers: ReadonlyMap<string, string>): Claim {
  if (!header.startsWith(`${ALGORITHM} `))
    throw new S3Error(
      "InvalidRequest",
      `The authorization mechanism you have provided is not supported. Please use ${ALGORITHM}.`,
    )
  const fields = new Map(
    header
      .slice(ALGORITHM.length + 1)
      .split(",")
      .map((field): [string, string] => {
        const at = field.indexOf("=")
        return [field.slice(0, at).trim(), field.slice(at + 1).trim()]
      }),
  )
  const field = (name: string): string => {
    const value = fields.get(name)
    if (!value)
      throw new S3Error(
        "AuthorizationHeaderMalformed",
        `The authorization header is malformed; the ${name} field is missing`,
      )
    return value
  }
  const amzDate = headers.get("x-amz-date")
  if (amzDate === undefined)
    throw new S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
  return {
    presigned: false,
    ...readCredential(field("Credential"), "AuthorizationHeaderMalformed"),
    signedHeaders: field("SignedHeaders").split(";"),
    signature: field("Signature"),
    amzDate,
  }
}

function readCredential(
  text: string,
  code: "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError",
): Pick<Claim, "accessKeyId" | "scope"> {
  const [accessKeyId, date, region, service, terminator, ...rest] = text.split("/")
  if (!accessKeyId || !date || !region || !service || !terminator || rest.length > 0)
    throw new S3Error(
      code,
      'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"',
    )
  return { accessKeyId, scope: [date, region, service, terminator] }
}

function checkScope({ presigned, scope, amzDate }: Claim, expectedRegion: string): void {
  const [date, region, service, terminator] = scope
  const code = presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed"
  if (region !== expectedRegion)
    throw new S3Error(code, `the region '${region}' is wrong; expecting '${expectedRegion}'`, {
      Region: expectedRegion,
    })
  if (service !== "s3")
    throw new S3Error(code, `incorrect service "${service}". This endpoint belongs to "s3"`)
  if (terminator !== "aws4_request") throw new S3Error(code, `incorrect terminal "${terminator}"`)
  if (date !== amzDate.slice(0, 8))
    throw new S3Error(code, `Invalid credential date "${date}". This date is not the same as X-Amz-Date`)
}

function checkTime(claim: Claim, query: readonly [string, string][], nowMs: number): void {
  const fields = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(claim.amzDate)
  const signedMs = fields ? Date.parse(isoDate(fields)) : Number.NaN
  if (Number.isNaN(signedMs))
    throw new S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
  if (!claim.presigned) {
    if (Math.abs(nowMs - signedMs) > MAX_SKEW_MS)
      throw new S3Error("RequestTimeTooSkewed", undefined, {
        RequestTime: claim.amzDate,
        ServerTime: new Date(nowMs).toISOString(),
        MaxAllowedSkewMilliseconds: MAX_SKEW_MS,
      })
    return
  }
  const expires = query.find(([name]) => name === "X-Amz-Expires")?.[1] ?? ""
  if (!/^\d{1,7}$/.test(expires) || Number(expires) < 1 || Number(expires) > MAX_PRESIGNED_SECONDS)
    throw new S3Error(
      "AuthorizationQueryParametersError",
      `X-Amz-Expires must be between 1 and ${MAX_PRESIGNED_SECONDS} seconds`,
    )
  if (signedMs - nowMs > MAX_SKEW_MS) throw new S3Error("AccessDenied", "Request is not yet valid")
  if (nowMs > signedMs + Number(expires) * 1000) throw new S3Error("AccessDenied", "Request has expired")
}

const isoDate = ([, year, month, day, hour, minute, second]: readonly string[]): string =>
  `${year}-${month}-${day}T${hour}:${minute}:${second}Z`

/** S3 acts on these headers. If the signature did not cover them, anyone on the way could add them. */
function checkSignedHeaders({ signedHeaders }: Claim, headers: ReadonlyMap<string, string>): void {
  const unsigned = [...headers.keys()].filter(
    (name) => (name === "host" || name.startsWith("x-amz-")) && !signedHeaders.includes(name),
  )
  if (unsigned.length > 0)
    throw new S3Error("AccessDenied", "There were headers present in the request which were not signed", {
      HeadersNotSigned: unsigned.join(", "),
    })
}

function canonicalQuery(query: readonly [string, string][]): string {
  return query
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]): [string, string] => [encodeRfc3986(name), encodeRfc3986(value)])
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : x > y ? 1 : 0))
    .map(([name, value]) => `${name}=${value}`)
    .join("&")
}

function readProof(content: string, signer: ChunkSigner): PayloadProof {
  switch (content) {
    case "UNSIGNED-PAYLOAD":
      return { kind: "unsigned" }
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { kind: "unsigned-chunks" }
    case `STREAMING-${ALGORITHM}-PAYLOAD`:
      return { kind: "signed-chunks", trailer: false, signer }
    case `STREAMING-${ALGORITHM}-PAYLOAD-TRAILER`:
      return { kind: "signed-chunks", trailer: true, signer }
  }
  if (/^[0-9a-f]{64}$/.test(content)) return { kind: "hash", sha256: content }
  throw new S3Error(
    "InvalidArgument",
    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
  )
}
