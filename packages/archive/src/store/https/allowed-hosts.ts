/**
 * The hosts that URLs from outside may lead to. A URL in a callback is only as trustworthy as its sender. So the operator lists
 * the hosts, and names must resolve to public addresses (RFC 6890). Otherwise a host that somebody else's DNS points at
 * 169.254.169.254 would be asked for this machine's credentials.
 */
import { BlockList, isIP, isIPv4, type LookupFunction } from "node:net"

/** One entry of the list. */
export interface HostRule {
  /** In lower case; an IPv6 address without brackets. */
  readonly host: string
  /** Whether `host` is a suffix of the names meant, such as `.example.com`. */
  readonly isWildcard: boolean
  readonly port: number
}

const NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/
const ENTRY = /^(\*\.)?(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/

/**
 * Parses a list of hosts, separated by commas: `example.com`, `*.example.com` (names below it, not itself) or an address, each
 * with a port if that is not 443. A listed address may be private, because the operator chose it. Throws a `RangeError` that
 * names an invalid entry.
 */
export function parseHostList(text: string): HostRule[] {
  const entries = text.split(",").map((entry) => entry.trim().toLowerCase())
  return entries.filter(Boolean).map((entry) => {
    const [, wildcard, name = "", port = "443"] = ENTRY.exec(entry) ?? []
    const host = name.replace(/^\[|\]$/g, "")
    const usable = isIP(host) !== 0 ? wildcard === undefined : NAME.test(host) && !/^[\d.]+$/.test(host)
    if (!usable || Number(port) < 1 || Number(port) > 65_535)
      throw new RangeError(
        `${JSON.stringify(entry.slice(0, 80))} is not a host: example.com, *.example.com or an address, with :port if it is not 443`,
      )
    return wildcard
      ? { host: `.${host}`, isWildcard: true, port: Number(port) }
      : { host, isWildcard: false, port: Number(port) }
  })
}

/** Why `url` may not be requested, as a clause without path and query; `null` if it may. */
export function refusalOf(url: URL, hosts: readonly HostRule[] | undefined): string | null {
  if (url.protocol !== "https:") return `${url.protocol}// is not https://`
  if (url.username !== "" || url.password !== "") return "the URL holds credentials before an @"
  if (hosts === undefined) return null
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const port = Number(url.port || 443)
  const allowed = hosts.some(
    (rule) =>
      rule.port === port &&
      (rule.isWildcard ? isIP(host) === 0 && host.endsWith(rule.host) : host === rule.host),
  )
  return allowed ? null : `${host}${port === 443 ? "" : `:${port}`} is not one of the allowed hosts`
}

/** IPv4 addresses that are not public: IANA's special-purpose registry, multicast and reserved ranges. */
const SPECIAL = new BlockList()
for (const [network, prefix] of [
  ...([
    ["0.0.0.0", 8],
    ["10.0.0.0", 8],
    ["100.64.0.0", 10],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
  ] as const),
  ...([
    ["172.16.0.0", 12],
    ["192.0.0.0", 24],
    ["192.0.2.0", 24],
    ["192.88.99.0", 24],
  ] as const),
  ...([
    ["192.168.0.0", 16],
    ["198.18.0.0", 15],
    ["198.51.100.0", 24],
    ["203.0.113.0", 24],
  ] as const),
  ...([["224.0.0.0", 3]] as const),
])
  SPECIAL.addSubnet(network, prefix, "ipv4")

/** Special ranges of global unicast (2000::/3), and those that embed an IPv4 address, which nobody would check (6to4, Teredo). */
const GLOBAL_V6 = new BlockList()
GLOBAL_V6.addSubnet("2000::", 3, "ipv6")
const SPECIAL_V6 = new BlockList()
for (const [network, prefix] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const)
  SPECIAL_V6.addSubnet(network, prefix, "ipv6")

/** Whether `address` (IPv4 or IPv6, as text) is on the public Internet. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !SPECIAL.check(address, "ipv4")
  return isIP(address) === 6 && GLOBAL_V6.check(address, "ipv6") && !SPECIAL_V6.check(address, "ipv6")
}

/** A name has an address that is not public. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused"
}

type Resolve = (
  hostname: string,
  options: { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: { address: string; family: number }[]) => void,
) => void

/**
 * A lookup hook for Node on top of `resolve`. Fails with `AddressRefused` if any address of the name is not public. The connection
 * uses an address checked here, so a DNS change in between has no effect.
 */
export function publicLookup(resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, "")
      const [first] = addresses
      if (first === undefined || !addresses.every(({ address }) => isPublicAddress(address)))
        return callback(new AddressRefused(`${hostname} leads to an address that is not public`), "")
      if (options.all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}
