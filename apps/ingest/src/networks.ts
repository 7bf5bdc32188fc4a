import { BlockList, isIP } from "node:net"

/** Whether an address belongs to one of some networks. */
export interface Networks {
  has(address: string | undefined): boolean
}

/**
 * Networks as `216.147.0.0/18,2001:db8::/32`; an address without a length is itself alone. An IPv4 address that arrives on
 * an IPv6 socket is recognised. Throws a `RangeError` that names the part that is no network.
 */
export function parseNetworks(text: string): Networks {
  const list = new BlockList()
  for (const part of text.split(",").map((item) => item.trim())) {
    const [address = "", length, ...rest] = part.split("/")
    const version = isIP(address)
    const bits = version === 4 ? 32 : 128
    const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN
    if (version === 0 || rest.length > 0 || !(prefix <= bits))
      throw new RangeError(`must be networks as in 216.147.0.0/18, separated by commas; "${part}" is none`)
    list.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6")
  }
  return {
    has(address) {
      const version = isIP(address ?? "")
      return version !== 0 && list.check(address!, version === 4 ? "ipv4" : "ipv6")
    },
  }
}
