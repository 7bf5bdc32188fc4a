import { expect, test } from "vitest"
import { AddressRefused, isPublicAddress, parseHostList, publicLookup, refusalOf } from "./allowed-hosts.ts"

const refusal = (hosts: string, url: string) => refusalOf(new URL(url), parseHostList(hosts))

test.each([
  ["example.com", "https://example.com/a?sig=1"],
  ["other.org, example.com", "https://example.com"],
  ["*.example.com", "https://a.b.example.com"],
  ["EXAMPLE.com", "https://Example.COM:443/"],
  ["example.com:8443", "https://example.com:8443"],
  ["127.0.0.1:8443", "https://127.0.0.1:8443"],
  ["127.0.0.1", "https://2130706433/"],
  ["[::1]:8443", "https://[::1]:8443/"],
])("%s allows %s", (hosts, url) => {
  expect(refusal(hosts, url)).toBeNull()
})

test.each([
  ["", "https://example.com"],
  ["example.com", "https://a.example.com"],
  ["*.example.com", "https://example.com"],
  ["*.example.com", "https://notexample.com"],
  ["*.example.com", "https://example.com.evil.org"],
  ["example.com", "https://example.com:8443"],
  ["example.com:8443", "https://example.com"],
  ["example.com", "https://93.184.216.34"],
  ["example.com", "https://example.com."],
  ["example.com", "http://example.com"],
  ["example.com", "file:///etc/passwd"],
  ["example.com", "https://example.com@evil.org"],
  ["example.com", "https://user:secret@example.com"],
  ["127.0.0.1:8443", "https://[::ffff:127.0.0.1]:8443"],
])("%s does not allow %s", (hosts, url) => {
  const reason = refusal(hosts, url)
  expect(reason).toMatch(/./)
  expect(reason).not.toContain("secret")
})

test("a refusal names the host, and nothing after it", () => {
  expect(refusal("example.com", "https://evil.org:99/path?X-Amz-Signature=abc")).toBe(
    "evil.org:99 is not one of the allowed hosts",
  )
})

test.each([
  "*",
  "*.*",
  "https://example.com",
  "a b",
  "example.com:0",
  "example.com:99999",
  "*.127.0.0.1",
  "1.2.3",
  "a..b",
  "::1",
])("%s is refused as an entry of the list", (entry) => {
  expect(() => parseHostList(`example.com,${entry}`)).toThrow(RangeError)
})

test.each(["8.8.8.8", "52.216.1.1", "2600:1f18::1", "2001:4860:4860::8888"])("%s is public", (address) => {
  expect(isPublicAddress(address)).toBe(true)
})

test.each([
  ...["0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254"],
  ...["172.16.0.1", "172.31.255.255", "192.168.0.1", "192.0.0.1", "198.18.0.1", "198.19.255.255"],
  ...["192.0.2.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
  ...["::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "fe80::1"],
  ...[
    "fe80::1%eth0",
    "fd00::1",
    "fc00::1",
    "ff02::1",
    "2002:7f00:1::",
    "2001:0:1::",
    "2001:db8::1",
    "localhost",
    "",
  ],
])("%s is not public", (address) => {
  expect(isPublicAddress(address)).toBe(false)
})

function look(addresses: readonly { address: string; family: number }[], all: boolean): Promise<unknown> {
  const lookup = publicLookup((_hostname, _options, callback) => callback(null, [...addresses]))
  return new Promise((resolve, reject) =>
    lookup("files.example.com", { all }, (error, address, family) =>
      error ? reject(error) : resolve([address, family]),
    ),
  )
}

const PUBLIC = { address: "8.8.8.8", family: 4 }
const PRIVATE = { address: "fd00::1", family: 6 }

test("a name is allowed if all of its addresses are public", async () => {
  expect(await look([PUBLIC], true)).toEqual([[PUBLIC], undefined])
  expect(await look([PUBLIC], false)).toEqual(["8.8.8.8", 4])
})

test("a name is refused if one of its addresses is private, or if it has none", async () => {
  for (const addresses of [[PUBLIC, PRIVATE], [PRIVATE], []])
    for (const all of [true, false]) await expect(look(addresses, all)).rejects.toThrow(AddressRefused)
})
