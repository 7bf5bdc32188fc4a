/** Whom a connection is made to. */
export interface Origin {
  readonly secure: boolean
  readonly host: string
  readonly port: number
}

/** The origin of a URL, or of what else has a URL's parts. An IPv6 address loses its brackets, a missing port is its scheme's. */
export function originOf({
  protocol,
  hostname,
  port,
}: {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | string | undefined
}): Origin {
  const secure = protocol !== "http:"
  return { secure, host: hostname.replaceAll(/[[\]]/g, ""), port: Number(port || (secure ? 443 : 80)) }
}
