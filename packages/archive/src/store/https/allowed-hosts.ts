/**
 * Which hosts a URL from outside may lead to. A URL that comes with a callback is as trustworthy as its sender, so that by
 * itself it leads nowhere: the operator names the hosts, and a name must lead to public addresses (RFC 6890), or a host
 * that somebody else's DNS points at 169.254.169.254 would be asked for this machine's credentials.
 */
import { BlockList, isIP, isIPv4, type LookupFunction } from "node:net"

/** One entry of the list. */
export interface HostRule {
  /** In lower case; an IPv6 address without brackets. */
  readonly host: string
  /** Whether `host` is the end of the names that are meant: `.example.com`. */
  readonly suffix: boolean
  readonly port: number
}

const NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/
const ENTRY = /^(\*\.)?(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/

/**
 * Parses a list of hosts, separated by commas: `example.com`, `*.example.com` (any name below it, not itself), an address,
 * each with a port if it is not 443. An address stands for itself, private or not: the operator has named it. `RangeError`
 * names an entry that is none of these.
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
      ? { host: `.${host}`, suffix: true, port: Number(port) }
      : { host, suffix: false, port: Number(port) }
  })
}

/** Why `url` may not be asked for, as a clause that holds no path and no query, or `null`. */
export function refusalOf(url: URL, hosts: readonly HostRule[] | undefined): string | null {
  if (url.protocol !== "https:") return `${url.protocol}// is not https://`
  if (url.username !== "" || url.password !== "") return "the URL holds credentials before an @"
  if (hosts === undefined) return null
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const port = Number(url.port || 443)
  const allowed = hosts.some(
    (rule) =>
      rule.port === port && (rule.suffix ? isIP(host) === 0 && host.endsWith(rule.host) : host === rule.host),
  )
  return allowed ? null : `${host}${port === 443 ? "" : `:${port}`} is not one of the allowed hosts`
}

/** What is not public in IPv4: IANA's special-purpose registry, multicast and what is reserved. */
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

/** Global unicast is 2000::/3; in it, what is special or holds an IPv4 address that nobody would check (6to4, Teredo). */
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

/** Whether `address` (IPv4 or IPv6, as text) is one of the public Internet. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !SPECIAL.check(address, "ipv4")
  return isIP(address) === 6 && GLOBAL_V6.check(address, "ipv6") && !SPECIAL_V6.check(address, "ipv6")
}

/** A name that leads to an address that is not public. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused"
}

type Resolve = (
  hostname: string,
  options: { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: { address: string; family: number }[]) => void,
) => void

/**
 * Node's hook for the addresses of a name, on top of `resolve`: fails with `AddressRefused` if any of them is not public. The
 * connection goes to an address that was checked here, so that a name that changes in between changes nothing.
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
