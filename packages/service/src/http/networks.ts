import type { IncomingMessage } from "node:http"
import { BlockList, isIP, type Socket } from "node:net"

/** A set of networks that can be asked whether it contains an address. */
export interface Networks {
  has(address: string | undefined): boolean
}

/**
 * Parses networks such as `216.147.0.0/18,2001:db8::/32`. An address without a length stands for itself. An IPv4 address on an
 * IPv6 socket is recognised. Throws a `RangeError` that names the part that is not a network.
 */
export function parseNetworks(text: string): Networks {
  const list = new BlockList()
  for (const part of text.split(",").map((item) => item.trim())) {
    const [address = "", length, ...rest] = part.split("/")
    const version = isIP(address)
    const bits = version === 4 ? 32 : 128
    const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN
    if (version === 0 || rest.length > 0 || !(prefix <= bits))
      throw new RangeError(`must be networks like 216.147.0.0/18, separated by commas; "${part}" is not one`)
    list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6")
  }
  return {
    has(address) {
      const version = isIP(address ?? "")
      return version !== 0 && list.check(address!, version === 4 ? "ipv4" : "ipv6")
    },
  }
}

/** The sender of a request. */
export interface Peer {
  /** `undefined` if it is unknown. */
  readonly address: string | undefined
  /** Why it is unknown, if the headers of a trusted proxy contradict each other. */
  readonly contradiction?: string
}

export interface TrustedProxies extends Networks {
  /**
   * If the connected peer is a trusted proxy: the last address in `X-Forwarded-For` or `Forwarded` (RFC 7239) that is not one.
   * Such headers are ignored from anybody else.
   */
  peerOf(request: Pick<IncomingMessage, "socket" | "headersDistinct">): Peer
}

/** The connected peer. An IPv4 address on an IPv6 socket is written in the usual form. */
export const peerOf = ({ remoteAddress }: Pick<Socket, "remoteAddress">): Peer => ({
  address: remoteAddress?.replace(/^::ffff:(?=\d+\.)/, ""),
})

/** Finds the senders of requests from what the proxies of `networks` say. */
export function trustProxies(networks: Networks): TrustedProxies {
  return {
    has: (address) => networks.has(address),
    peerOf({ socket, headersDistinct }) {
      const { address } = peerOf(socket)
      if (!networks.has(address)) return { address }
      const found = [
        headersDistinct["x-forwarded-for"]?.join(",").split(",").map(addressOf),
        headersDistinct.forwarded && forwardedFor(headersDistinct.forwarded.join(",")),
      ].flatMap((hops) => (hops === undefined ? [] : [senderOf(hops, networks) ?? address]))
      const [first = address, second = first] = found
      if (first === second) return { address: first }
      return {
        address: undefined,
        contradiction:
          "X-Forwarded-For and Forwarded of the proxy name different senders: let it remove the one that it does not write",
      }
    },
  }
}

/** The last hop that is not a trusted proxy; the outermost one if all are. */
const senderOf = (hops: readonly string[], trusted: Networks): string | undefined =>
  hops.findLast((hop) => !trusted.has(hop)) ?? hops[0]

/** Each hop's `for`, in order. */
const forwardedFor = (header: string): string[] =>
  splitFromEnd(header, ",").map((hop) => {
    const pair = splitFromEnd(hop, ";").find((text) => /^\s*for\s*=/i.test(text)) ?? ""
    return addressOf(pair.slice(pair.indexOf("=") + 1))
  })

/**
 * Splits `text` at each `separator` outside of quotes, starting from the end. That end comes from the trusted proxy, and a
 * quote that a sender left open before it must not swallow it.
 */
function splitFromEnd(text: string, separator: string): string[] {
  const parts: string[] = []
  let end = text.length
  let quoted = false
  for (let index = text.length - 1; index >= 0; index--) {
    if (text[index] === '"' && text[index - 1] !== "\\") quoted = !quoted
    else if (text[index] === separator && !quoted) {
      parts.unshift(text.slice(index + 1, end))
      end = index
    }
  }
  return [text.slice(0, end), ...parts]
}

/** A hop's address without quotes, brackets and port: `"[2001:db8::1]:4711"`, `192.0.2.1:80`. */
function addressOf(hop: string): string {
  const text = hop.trim().replace(/^"(.*)"$/, "$1")
  const bracketed = /^\[([^\]]*)\]/.exec(text)?.[1]
  return bracketed ?? (/^[\d.]+:\d+$/.test(text) ? text.slice(0, text.indexOf(":")) : text)
}
