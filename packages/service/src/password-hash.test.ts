import { expect, test } from "vitest"
import { hashPassword, isPasswordHash, isPasswordOf } from "./password-hash.ts"

const CHEAP = { N: 2 ** 14, r: 8, p: 1 }
const password = Buffer.from("correct horse battery staple")

test("a hash fits its own password alone, and differs each time", async () => {
  const [one, other] = [await hashPassword(password, CHEAP), await hashPassword(password, CHEAP)]
  expect(one).not.toBe(other)
  expect(one).toMatch(/^scrypt\$16384\$8\$1\$[\w-]{22}\$[\w-]{43}$/)
  expect(isPasswordHash(one)).toBe(true)
  expect(await isPasswordOf(one, password)).toBe(true)
  expect(await isPasswordOf(one, Buffer.from("correct horse battery stapl"))).toBe(false)
})

test("a new hash costs 32 MiB", async () => {
  expect(await hashPassword(password)).toMatch(/^scrypt\$32768\$8\$3\$/)
})

test("the RFC's own vector is recognised (RFC 7914, section 12)", async () => {
  // scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1), the first 32 bytes.
  const salt = Buffer.from("SodiumChloride").toString("base64url")
  const hash = Buffer.from("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2", "hex")
  const text = `scrypt$16384$8$1$${salt}$${hash.toString("base64url")}`
  expect(await isPasswordOf(text, Buffer.from("pleaseletmein"))).toBe(true)
})

test.each([
  "",
  "password",
  "scrypt$16384$8$1$c2FsdHNhbHRzYWx0c2FsdA$short",
  // Too cheap, too dear, and no power of two.
  ...["scrypt$1024$8$1", "scrypt$8388608$64$1", "scrypt$16384$8$99", "scrypt$20000$8$1", "scrypt$0$8$1"].map(
    (cost) => `${cost}$c2FsdHNhbHRzYWx0c2FsdA$${"A".repeat(43)}`,
  ),
])("%j is not a hash", (text) => {
  expect(isPasswordHash(text)).toBe(false)
})
