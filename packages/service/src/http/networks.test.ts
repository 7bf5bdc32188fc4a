import { describe, expect, it } from "vitest"
import { parseNetworks, trustProxies } from "./networks.ts"

describe("the sender of a request", () => {
  const proxies = trustProxies(parseNetworks("10.0.0.0/8,2001:db8:f::/48"))
  const sender = (remoteAddress: string, headersDistinct: Record<string, string[]>) =>
    proxies.peerOf({ socket: { remoteAddress } as never, headersDistinct }).address

  it.each<[string, string, Record<string, string[]>, string]>([
    [
      "is the peer, if that is not a proxy",
      "192.0.2.1",
      { "x-forwarded-for": ["198.51.100.7"] },
      "192.0.2.1",
    ],
    ["is the proxy itself where it names nobody", "10.0.0.1", {}, "10.0.0.1"],
    [
      "is whom the proxy names, on an IPv6 socket too",
      "::ffff:10.0.0.1",
      { "x-forwarded-for": ["198.51.100.7"] },
      "198.51.100.7",
    ],
    [
      "is before the last proxy",
      "10.0.0.1",
      { "x-forwarded-for": ["6.6.6.6, 198.51.100.7, 10.1.1.1"] },
      "198.51.100.7",
    ],
    [
      "is in the last of several lines",
      "10.0.0.1",
      { "x-forwarded-for": ["6.6.6.6", "198.51.100.7"] },
      "198.51.100.7",
    ],
    ["is written without its port", "10.0.0.1", { "x-forwarded-for": ["198.51.100.7:4711"] }, "198.51.100.7"],
    [
      "is written without brackets and quotes",
      "10.0.0.1",
      { forwarded: ['For="[2001:db8::1]:4711";proto=https'] },
      "2001:db8::1",
    ],
    [
      "is behind an IPv6 proxy",
      "10.0.0.1",
      { forwarded: ['for=198.51.100.7, for="[2001:db8:f::2]"'] },
      "198.51.100.7",
    ],
    [
      "is not swallowed by a quote that a sender left open",
      "10.0.0.1",
      { forwarded: ['for="', "for=198.51.100.7"] },
      "198.51.100.7",
    ],
    [
      "is not hidden by separators in quotes",
      "10.0.0.1",
      { forwarded: ['for=198.51.100.7;host="a,for=6.6.6.6;b"'] },
      "198.51.100.7",
    ],
    ["is a name where the proxy hides the address", "10.0.0.1", { forwarded: ["for=_hidden"] }, "_hidden"],
    [
      "is the outermost proxy if all are proxies",
      "10.0.0.1",
      { "x-forwarded-for": ["10.2.2.2, 10.1.1.1"] },
      "10.2.2.2",
    ],
  ])("%s", (_name, peer, headers, expected) => {
    expect(sender(peer, headers)).toBe(expected)
  })
})

describe("networks", () => {
  const vendor = parseNetworks("216.147.0.0/18, 10.1.2.3,2001:db8::/32")

  it.each([
    ["216.147.0.1", true],
    ["216.147.63.255", true],
    ["216.147.64.0", false],
    ["::ffff:216.147.1.1", true],
    ["::ffff:9.9.9.9", false],
    ["10.1.2.3", true],
    ["10.1.2.4", false],
    ["2001:db8:1::1", true],
    ["2001:db9::1", false],
    ["not an address", false],
    [undefined, false],
  ])("know whether %s is theirs", (address, expected) => expect(vendor.has(address)).toBe(expected))

  it.each(["", "216.147.0.0/33", "216.147.0.0/x", "216.147.0.0/8/8", "vonage.com", "10.0.0.0/8,", "::1/129"])(
    "are refused as %j",
    (text) => expect(() => parseNetworks(text)).toThrow(/must be networks/),
  )
})
