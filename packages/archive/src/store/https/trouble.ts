/** Known problems with an HTTPS host or URL, worded so that a reader knows whose move it is. */
import { UnsealError } from "../../errors.ts"

/** `authority`: a CA that is not trusted here issued its certificate · `url`: the URL is refused, like an expired one */
export type HttpsTrouble =
  | "authority"
  | "certificate-expired"
  | "certificate-name"
  | "forbidden"
  | "refuses-connections"
  | "unknown-host"
  | "no-ranges"
  | "page"
  | "redirect"
  | "url"

/** The cause of an HTTPS source's `UnsealError` if the kind of trouble is known. */
export class HttpsTroubleError extends Error {
  override readonly name = "HttpsTroubleError"
  readonly trouble: HttpsTrouble

  constructor(trouble: HttpsTrouble, cause?: unknown) {
    super(trouble, { cause })
    this.trouble = trouble
  }
}

/** For operators of workers: the vendor made the URLs of the copies that a worker fetches. */
const REMEDIES: Readonly<Record<HttpsTrouble, string>> = {
  authority:
    "if you trust the host, start the process with NODE_EXTRA_CA_CERTS naming a file with the certificate of its authority",
  "certificate-expired":
    "check this machine's clock; if it is right, whoever runs the host must renew its certificate",
  "certificate-name": "have whoever runs the host serve a certificate for this name",
  forbidden:
    "if you trust the host, add it to UNSEAL_FALLBACK_HOSTS, by its address if that is private; the URL must be https",
  "refuses-connections": "check the network and proxies on the way to the host, and whether its server runs",
  "unknown-host": "check the host name, and this machine's DNS",
  "no-ranges": "have the vendor upload to the source store: this host does not serve ranges",
  page: "check what the URL leads to: it may be a login or an error page",
  redirect: "if you trust the host that it redirects to, add that host to UNSEAL_FALLBACK_HOSTS",
  url: "get a new URL: a signed one is valid for minutes",
}

/** The options of an error with a known kind of trouble. */
export const troubled = (trouble: HttpsTrouble, cause?: unknown) => ({
  cause: new HttpsTroubleError(trouble, cause),
  remedy: REMEDIES[trouble],
})

const AUTHORITY = [
  ...["DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT"],
  ...["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_UNTRUSTED"],
]

/** The kind, and a clause, for Node's `code` of a failed connection to `host`; `null` for other codes. */
function connectionTrouble(
  code: string | undefined,
  host: string,
): { trouble: HttpsTrouble; clause: string } | null {
  if (code === undefined) return null
  if (AUTHORITY.includes(code))
    return {
      trouble: "authority",
      clause: `the certificate of ${host} is signed by an authority that is not trusted here (${code})`,
    }
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return { trouble: "certificate-expired", clause: `the certificate of ${host} has expired (${code})` }
    case "CERT_NOT_YET_VALID":
      return {
        trouble: "certificate-expired",
        clause: `the certificate of ${host} is not valid yet (${code})`,
      }
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        trouble: "certificate-name",
        clause: `the certificate of ${host} was issued for another name (${code})`,
      }
    case "ECONNREFUSED":
      return { trouble: "refuses-connections", clause: `${host} refuses connections (${code})` }
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { trouble: "unknown-host", clause: `the name ${host} could not be resolved (${code})` }
  }
  return null
}

/**
 * The error for a failed connection to `host`, if its kind is known. An untrusted certificate needs a person: permanent. A host
 * or a resolver may be back in a moment: transient.
 */
export function connectionError(key: string, error: NodeJS.ErrnoException, host: string): UnsealError | null {
  const known = connectionTrouble(error.code, host)
  if (known === null) return null
  const isAway = known.trouble === "refuses-connections" || known.trouble === "unknown-host"
  return new UnsealError(
    isAway ? "ERR_STORE_UNAVAILABLE" : "ERR_STORE_DENIED",
    `${key} could not be fetched: ${known.clause}`,
    troubled(known.trouble, error),
  )
}
