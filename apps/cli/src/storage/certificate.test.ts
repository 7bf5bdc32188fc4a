import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readCertificate } from "./certificate.ts"

const directory = mkdtempSync(join(tmpdir(), "unseal-storage-certificate-"))
const path = (name: string) => join(directory, name)
const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "pipe" })

beforeAll(() => {
  const request = (name: string, ...newkey: string[]) =>
    openssl(
      ...["req", "-new", "-x509", "-nodes", "-subj", "/CN=test", "-newkey", ...newkey],
      ...["-out", `${name}.pem`, "-keyout", `${name}-key.pem`],
    )
  request("usual", "rsa:2048")
  request("large", "rsa:3072")
  request("small", "rsa:512")
  request("ec", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
  openssl("req", "-new", "-key", "usual-key.pem", "-subj", "/CN=test", "-out", "request.pem")
  const files = ["-in", "request.pem", "-signkey", "usual-key.pem", "-out", "expired.pem"]
  openssl("x509", "-req", "-days", "-1", ...files)
  writeFileSync(path("both.pem"), readFileSync(path("usual-key.pem"), "utf8") + usual())
  writeFileSync(path("text.pem"), "no certificate")
})
afterAll(() => rmSync(directory, { recursive: true }))
const usual = () => readFileSync(path("usual.pem"), "utf8")

const { signal: never } = new AbortController()

describe("a certificate to be registered", () => {
  it("is taken from the file as openssl wrote it", async () => {
    expect(await readCertificate(path("usual.pem"), false, never)).toBe(usual())
  })

  it("is taken alone if the private key is in the same file", async () => {
    expect(await readCertificate(path("both.pem"), false, never)).toBe(usual())
  })

  it("may have a large key if that is intended", async () => {
    expect(await readCertificate(path("large.pem"), true, never)).toContain("BEGIN CERTIFICATE")
  })

  it.each([
    ["large", "3072 bits, and the vendor takes 2048 or fewer (--allow-large sends it anyway)"],
    ["small", "512 bits, and a password needs 744 or more"],
    ["ec", "of type ec, and the vendor takes RSA only"],
    ["expired", "expired at 20"],
    ["none", "does not exist: check the path"],
  ])("is refused if it is %s.pem: %s", async (name, words) => {
    const reading = readCertificate(path(`${name}.pem`), false, never)
    await expect(reading).rejects.toMatchObject({ name: "UsageError" })
    await expect(reading).rejects.toThrow(words)
  })

  it.each(["text", "usual-key"])("is not found in %s.pem", async (name) => {
    await expect(readCertificate(path(`${name}.pem`), false, never)).rejects.toMatchObject({
      name: "UsageError",
      message: expect.stringContaining("holds no PEM certificate"),
    })
  })
})
