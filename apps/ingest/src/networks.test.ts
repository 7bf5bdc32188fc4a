import { describe, expect, it } from "vitest"
import { parseNetworks } from "./networks.ts"

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
