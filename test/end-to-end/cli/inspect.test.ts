/** `unseal inspect`: what a password says, and which key fits it. */
import { randomBytes, X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { describe, expect, it } from "vitest"
import { runCli } from "../../harness/process.ts"

const vectors = join(import.meta.dirname, "../../vectors")

describe("unseal inspect", () => {
  const file = (name: string) => join(vectors, "openssl-zero", name)

  it("names the key that fits, and never prints it", async () => {
    const args = [
      "inspect",
      "--callback",
      file("callback.json"),
      "--key",
      join(vectors, "openssl-pkcs7/key.pem"),
      "--key",
      file("key.pem"),
    ]
    const { code, stdout } = await runCli([...args, "--json"])
    expect(code).toBe(0)
    expect(JSON.parse(stdout.toString())).toEqual({
      archiveId: (await readFile(file("id"), "utf8")).trim(),
      encrypted: "yes",
      wrappedBytes: 256,
      passwordBytes: 51,
      version: 1,
      algorithm: "1 (AES-256)",
      mode: "1 (CBC)",
      key: file("key.pem"),
      keyId: expect.stringMatching(/^[0-9a-f]{64}$/),
      keyBits: 2048,
    })
  })

  it("says which mode a password names that it does not know, and what to do", async () => {
    const password = encodePassword({ key: randomBytes(32), iv: randomBytes(16) })
    password[2] = 7
    const { publicKey } = new X509Certificate(await readFile(file("cert.pem")))
    const wrapped = wrapPassword(password, publicKey)
    expect(await runCli(["inspect", "--password", wrapped, "--key", file("key.pem")])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /ERR_PASSWORD_INVALID: password mode 7 is not supported, only 1 \(CBC\)[\s\S]*update Unseal to a release/,
      ),
    })
  })

  it("fails if no key fits", async () => {
    const args = [
      "inspect",
      "--callback",
      file("callback.json"),
      "--key",
      join(vectors, "openssl-pkcs7/key.pem"),
    ]
    expect(await runCli(args)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("ERR_NO_MATCHING_KEY"),
    })
  })
})
