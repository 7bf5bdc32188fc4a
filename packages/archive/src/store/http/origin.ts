/** The peer of a connection. */
export interface Origin {
  readonly secure: boolean
  readonly host: string
  readonly port: number
}

/**
 * The origin of a URL, or of anything with a URL's parts. IPv6 addresses lose their brackets; the scheme gives the default port.
 */
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
