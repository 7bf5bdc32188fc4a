import { execFileSync } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { parseCertificates } from "./certificate.ts"
import { parsePrivateKey } from "./key-ring.ts"

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-certificate-"))
})
afterEach(() => rm(directory, { recursive: true }))

const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe", cwd: directory })
const file = (name: string) => readFile(join(directory, name))
const make = (...args: string[]) =>
  openssl(
    ...["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", "cert.pem", "-keyout", "key.pem"],
    ...args,
  )

it("is read as openssl makes it, with the id of its key", async () => {
  make("-days", "30", "-subj", "/C=DE/O=Acme, Inc./CN=archives", "-sha384")
  const [certificate, ...chain] = parseCertificates(await file("cert.pem"), "cert.pem")
  expect(chain).toEqual([])
  expect(certificate).toMatchObject({
    ...{ name: "cert.pem", modulusBits: 2048, signatureAlgorithm: "sha384WithRSAEncryption" },
    keyId: parsePrivateKey(await file("key.pem"), "key.pem").keyId,
  })
  expect(certificate.subject).toContain("CN=archives")
  expect(certificate.notAfter.getTime() - certificate.notBefore.getTime()).toBe(30 * 86_400_000)
})

it("is found among text, private keys and the certificates of its chain", async () => {
  make("-days", "1", "-subj", "/CN=root")
  const root = await file("cert.pem")
  make("-days", "1", "-subj", "/CN=leaf")
  const text = openssl("x509", "-in", "cert.pem", "-text")
  const all = Buffer.concat([await file("key.pem"), text, root])
  expect(parseCertificates(all, "all.pem").map(({ subject }) => subject)).toEqual(["CN=leaf", "CN=root"])
})

it("is read with Windows line breaks, and with openssl's trust settings", async () => {
  make("-days", "1", "-subj", "/CN=a")
  const pem = (await file("cert.pem")).toString().replaceAll("\n", "\r\n")
  expect(parseCertificates(Buffer.from(pem), "a")[0].subject).toBe("CN=a")
  openssl("x509", "-in", "cert.pem", "-trustout", "-addtrust", "serverAuth", "-out", "trusted.pem")
  expect((await file("trusted.pem")).toString()).toContain("BEGIN TRUSTED CERTIFICATE")
  expect(parseCertificates(await file("trusted.pem"), "a")[0].pem).toBe((await file("cert.pem")).toString())
})

it.each<[string, (write: (name: string, content: string) => Promise<void>) => Promise<void> | void, string]>([
  [
    "DER",
    () => void openssl("x509", "-in", "cert.pem", "-outform", "DER", "-out", "x"),
    "x is not PEM but DER: convert it with openssl x509 -inform DER -in x -out cert.pem",
  ],
  [
    "a request",
    () => void openssl("req", "-new", "-key", "key.pem", "-subj", "/CN=a", "-out", "x"),
    "only a certificate request",
  ],
  [
    "a private key",
    () => void openssl("rsa", "-in", "key.pem", "-out", "x"),
    "x holds no PEM certificate, only a private key",
  ],
  ["a public key", () => void openssl("rsa", "-in", "key.pem", "-pubout", "-out", "x"), "only a public key"],
  ["something else", (write) => write("x", "hello"), "x holds no PEM certificate"],
  [
    "a damaged certificate",
    (write) => write("x", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
    "x holds a certificate that can't be read",
  ],
])("refuses %s and says what it is", async (_name, prepare, message) => {
  make("-days", "1", "-subj", "/CN=a")
  await prepare((name, content) => writeFile(join(directory, name), content))
  const pem = await file("x")
  expect(() => parseCertificates(pem, "x")).toThrow(
    expect.objectContaining({ code: "ERR_KEY_INVALID", message: expect.stringContaining(message) }),
  )
})
