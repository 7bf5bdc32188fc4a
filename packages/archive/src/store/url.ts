import { nearest } from "../did-you-mean.ts"
import { checkBucket, regionOfArn, splitArn } from "./s3/names.ts"
import { StoreUrlError } from "./url-error.ts"
import {
  type AzurePlacement,
  azurePlacement,
  checkSide,
  type S3Placement,
  type StoreSide,
  s3Placement,
} from "./url-parameters.ts"

export { StoreUrlError } from "./url-error.ts"

export interface S3StoreUrl extends S3Placement {
  readonly kind: "s3"
  readonly bucket: string
  /** Without slashes at its ends; empty if there is none. */
  readonly prefix: string
  readonly region?: string
  readonly endpoint?: string
  readonly pathStyle?: boolean
  readonly profile?: string
}

export interface AzureStoreUrl extends AzurePlacement {
  readonly kind: "azure"
  readonly container: string
  /** Without slashes at its ends; empty if there is none. */
  readonly prefix: string
  readonly account?: string
  readonly endpoint?: string
}

export interface FileStoreUrl {
  readonly kind: "file"
  /** Absolute path. */
  readonly directory: string
}

export type StoreUrl = S3StoreUrl | AzureStoreUrl | FileStoreUrl

/** The query parameters of each kind of store. The list is complete, so that a misspelt one is an error. */
const PARAMETERS = {
  s3: [
    ...(["region", "endpoint", "pathStyle", "profile", "serverSideEncryption", "sseKmsKeyId"] as const),
    ...(["bucketKeyEnabled", "storageClass", "tagging", "acl", "expectedBucketOwner"] as const),
    "requestPayer",
  ],
  azure: ["account", "endpoint", "accessTier", "encryptionScope", "tags"],
  file: [],
} as const satisfies Record<StoreUrl["kind"], readonly string[]>

const SECRET_PARAMETER =
  /key|secret|password|passwd|token|credential|signature|^sig$|^sas$|^s[a-z]$|connectionstring/i

const CONTAINER = /^(?:\$root|\$web|\$logs|[a-z0-9](?:-?[a-z0-9]){2,62})$/

interface UrlPieces {
  readonly kind: StoreUrl["kind"]
  readonly host: string
  /** As written: percent-encoded. */
  readonly path: string
  /** As written, without the question mark. */
  readonly query: string
}

/**
 * Parses `s3://bucket/prefix?region=…&endpoint=…&pathStyle=…&profile=…`, `azure://container/prefix?account=…&endpoint=…`
 * or `file:///directory`; docs/stores.md has all parameters. Throws `StoreUrlError` for anything else and, with `side`, for a
 * parameter of the other side. Refuses credentials: they come from the SDKs' own chains.
 */
export function parseStoreUrl(url: string, side?: StoreSide): StoreUrl {
  const { kind, host, path, query } = splitPieces(url)
  const parameters = parseQuery(kind, query)
  if (side !== undefined) checkSide(parameters, side)
  const endpoint = parseEndpoint(parameters.get("endpoint"))
  if (kind === "file") return { kind, directory: parseDirectory(host, path) }

  const prefix = parsePath(path).replaceAll(/^\/+|\/+$/g, "")
  if (kind === "s3") {
    checkBucket(host)
    const region = parameters.get("region") ?? regionOfArn(host)
    return {
      kind,
      bucket: host,
      prefix,
      ...given("region", region),
      ...given("endpoint", endpoint),
      ...given("pathStyle", parseBoolean("pathStyle", parameters.get("pathStyle"))),
      ...given("profile", parameters.get("profile")),
      ...s3Placement(parameters),
    }
  }
  if (!CONTAINER.test(host))
    throw new StoreUrlError(
      `store URL names no usable container: "${host}" (3 to 63 lower-case letters, digits and single dashes)`,
    )
  return {
    kind,
    container: host,
    prefix,
    ...given("account", parameters.get("account")),
    ...given("endpoint", endpoint),
    ...azurePlacement(parameters),
  }
}

/**
 * Splits a URL that ends in a key into the URL of the store and the key, as on the command line:
 * `s3://bucket/a/archive.ts?region=x` → `s3://bucket?region=x` and `a/archive.ts`; `file:///a/b.ts` → `file:///a` and `b.ts`.
 */
export function splitObjectUrl(url: string): { store: string; key: string } {
  parseStoreUrl(url)
  const { kind, host, path, query } = splitPieces(url)
  const cut = kind === "file" ? path.lastIndexOf("/") : 0
  const key = parsePath(path.slice(cut)).replace(/^\/+/, "")
  if (key === "" || key.endsWith("/"))
    throw new StoreUrlError(`${kind} URL ends in no key: it must name one object, not a ${placeName(kind)}`)
  const directory = kind === "file" ? path.slice(0, cut) || "/" : ""
  return { store: `${kind}://${host}${directory}${query === "" ? "" : `?${query}`}`, key }
}

const placeName = (kind: StoreUrl["kind"]): string =>
  kind === "s3" ? "bucket" : kind === "azure" ? "container" : "directory"

const isKind = (scheme: string): scheme is StoreUrl["kind"] => Object.hasOwn(PARAMETERS, scheme)

// Not with `new URL`, which would silently resolve `..` and re-encode a key's literal characters.
function splitPieces(url: string): UrlPieces {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(url)
  if (!match)
    throw new StoreUrlError(
      `store URL must begin with s3://, azure:// or file:///${/^file:/i.test(url) ? " (three slashes, then an absolute path)" : ""}`,
    )
  const [, scheme = "", authority = "", path = "", query = "", fragment] = match
  const kind = scheme.toLowerCase()
  if (!isKind(kind)) {
    const meant = nearest(kind, Object.keys(PARAMETERS))
    throw new StoreUrlError(
      `store URL has the unknown scheme "${kind}://"${meant ? `: did you mean "${meant}://"?` : ": use s3://, azure:// or file:///"}`,
    )
  }
  if (authority.includes("@"))
    throw new StoreUrlError(
      `${kind} URL holds credentials before an @: remove them; credentials come from the SDK's own chain (environment, profile, identity)`,
    )
  if (fragment !== undefined)
    throw new StoreUrlError(`${kind} URL has a fragment: a # in a key is written %23`)
  if (kind === "s3" && authority.startsWith("arn:")) return { kind, query, ...splitArn(authority, path) }
  return { kind, host: authority, path, query }
}

function parseQuery(kind: StoreUrl["kind"], query: string): ReadonlyMap<string, string> {
  const known: readonly string[] = PARAMETERS[kind]
  const parameters = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) {
    if (!known.includes(name)) {
      const meant = nearest(name, known)
      const isSecret = SECRET_PARAMETER.test(name) && !(meant && SECRET_PARAMETER.test(meant))
      if (isSecret)
        throw new StoreUrlError(
          `${kind} URL holds a credential in the parameter "${name}": remove it; credentials come from the SDK's own chain (environment, profile, identity)`,
        )
      const advice = meant
        ? `did you mean "${meant}"?`
        : known.length > 0
          ? `known are ${known.join(", ")}`
          : "it takes none"
      throw new StoreUrlError(`${kind} URL has the unknown parameter "${name}": ${advice}`)
    }
    if (parameters.has(name)) throw new StoreUrlError(`${kind} URL has the parameter "${name}" twice`)
    if (value === "") throw new StoreUrlError(`${kind} URL has the parameter "${name}" without a value`)
    parameters.set(name, value)
  }
  return parameters
}

function parsePath(path: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(path)
  } catch {
    throw new StoreUrlError("store URL has a broken percent-encoding in its path: a % itself is written %25")
  }
  if (decoded.includes("\0")) throw new StoreUrlError("store URL has a NUL in its path")
  if (decoded.split("/").some((segment) => segment === "." || segment === ".."))
    throw new StoreUrlError('store URL has "." or ".." in its path: write the path it means')
  return decoded
}

function parseDirectory(host: string, path: string): string {
  if (host !== "" && host.toLowerCase() !== "localhost")
    throw new StoreUrlError(
      `file URL names the host "${host}": a directory of this machine has three slashes, file:///directory`,
    )
  const directory = parsePath(path)
  if (directory === "") throw new StoreUrlError("file URL names no directory: file:///directory")
  return directory === "/" ? directory : directory.replace(/\/+$/, "")
}

// The messages omit the value: people paste SAS URLs and user:password@ here.
function parseEndpoint(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  const url = URL.parse(value)
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:"))
    throw new StoreUrlError("endpoint is not an http:// or https:// URL")
  if (url.username !== "" || url.password !== "")
    throw new StoreUrlError("endpoint holds credentials before an @: leave them out")
  if (url.search !== "" || url.hash !== "")
    throw new StoreUrlError("endpoint has a query or a fragment: leave it out, even if it is a SAS token")
  return value.replace(/\/+$/, "")
}

function parseBoolean(name: string, value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined
  if (value === "true" || value === "false") return value === "true"
  throw new StoreUrlError(`${name} is "${value}" instead of true or false`)
}

const given = <Name extends string, Value>(name: Name, value: Value | undefined) =>
  (value === undefined ? {} : { [name]: value }) as { [key in Name]?: Value }
