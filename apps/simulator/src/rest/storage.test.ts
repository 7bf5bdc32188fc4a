import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { poisoned } from "../../../../test/harness/poisoned.ts"
import {
  ask,
  authorized,
  cloud,
  first,
  get,
  never,
  PROJECT,
  path,
  rest,
} from "../../../../test/harness/rest-server.ts"
import { createCertificate, decryptByOpenssl } from "../recording/openssl.ts"
import { type S3Server, startS3Server } from "../s3/http/server.ts"

const CREDENTIAL = { accessKeyId: "CUSTOMER", secretAccessKey: "customer-secret" }

const second = { certificateFile: path("cert-2.pem"), keyFile: path("key-2.pem") }

let s3: S3Server
beforeAll(async () => {
  await createCertificate(second)
  s3 = await startS3Server({ credentials: [CREDENTIAL], buckets: ["theirs"] })
})
afterAll(() => s3.close())

const put = async (body: unknown, type = "application/json") =>
  ask(
    `${PROJECT}/archive/storage`,
    { ...(await authorized()), "content-type": type },
    { method: "PUT", body: typeof body === "string" ? body : JSON.stringify(body) },
  )

const target = (more: object = {}) => ({
  type: "s3",
  config: { bucket: "theirs", accessKey: "CUSTOMER", secretKey: "customer-secret", endpoint: s3.url },
  fallback: "none",
  certificate: readFileSync(second.certificateFile).toString("base64"),
  ...more,
})

/** The bytes under `key` in the target's bucket. */
async function uploaded(key: string): Promise<Buffer | null> {
  const url = `s3://theirs?endpoint=${s3.url}&region=us-east-1`
  const theirs = poisoned(await openStore(url, { env: {}, credentials: CREDENTIAL }))
  try {
    const object = await theirs.stat(key, never)
    if (object === null) return null
    return Buffer.from(await readSmallObject(theirs, object, 2 ** 30, never))
  } finally {
    await theirs.close()
  }
}

describe("a storage", () => {
  test("receives archives from then on, encrypted for its certificate", async () => {
    const before = await cloud.record({ size: 752 })
    expect((await put(target())).status).toBe(200)
    const { id, key, recording, sha256 } = await cloud.record({ size: 752 })
    expect(await uploaded(before.key)).toBeNull()
    expect(key).toBe(`${PROJECT}/${id}/archive.ts`)
    const ciphertext = await uploaded(key)
    expect(ciphertext).toHaveLength(768)
    expect(createHash("sha256").update(ciphertext!).digest("hex")).toBe(sha256!.ciphertext)
    const unwrapped = (keyFile: string) => {
      const options = ["-pkeyopt", "rsa_padding_mode:oaep", "-inkey", keyFile]
      const input = Buffer.from(recording!.encryptedPassword, "base64")
      return execFileSync("openssl", ["pkeyutl", "-decrypt", ...options], {
        input,
        stdio: ["pipe", "pipe", "ignore"],
      })
    }
    expect(unwrapped(second.keyFile)).toHaveLength(51)
    expect(() => unwrapped(first.keyFile)).toThrow("openssl")
    expect(rest.storage).toMatchObject({ type: "s3", config: { bucket: "theirs" } })
  })

  test("takes a new certificate with the next request, in both forms", async () => {
    for (const { certificateFile, keyFile } of [first, second]) {
      const certificate = readFileSync(certificateFile, "utf8")
      expect((await put(target({ certificate }))).status).toBe(200)
      const archive = await cloud.record({ size: 752 })
      const source = path("rotated.enc")
      writeFileSync(source, (await uploaded(archive.key))!)
      const encryptedPassword = archive.recording!.encryptedPassword
      await decryptByOpenssl({ encryptedPassword, keyFile, source, destination: path("rotated.ts") })
      const digest = createHash("sha256")
        .update(readFileSync(path("rotated.ts")))
        .digest("hex")
      expect(digest).toBe(archive.sha256!.plaintext)
    }
  })

  test.each([{ certificate: null }, { certificate: undefined }])(
    "ends the encryption with %j",
    async (without) => {
      expect((await put(target(without))).status).toBe(200)
      const archive = await cloud.record({ size: 752 })
      expect(archive).toMatchObject({ status: "uploaded", recording: { encryptedPassword: "", size: 752 } })
      expect(archive.key).toBe(`${PROJECT}/${archive.id}/archive.mp4`)
      expect(archive.sha256!.plaintext).toBe(archive.sha256!.ciphertext)
      const told = (await (await get(`archive/${archive.id}`)).json()) as { password: string }
      expect(told.password).toBe("")
    },
  )

  test("on Azure works as well", async () => {
    const config = { accountName: "account", accountKey: "a2V5", container: "archives" }
    expect((await put({ type: "azure", config, certificate: null })).status).toBe(200)
    expect(rest.storage).toMatchObject({ type: "azure", config })
  })

  const large = () => {
    const args = ["req", "-new", "-x509", "-nodes", "-newkey", "rsa:3072", "-subj", "/CN=large"]
    return execFileSync("openssl", [...args, "-keyout", path("large.pem")], { stdio: "pipe" }).toString()
  }
  const ec = () => {
    const args = ["req", "-new", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    return execFileSync("openssl", [...args, "-subj", "/CN=ec", "-keyout", path("ec.pem")], {
      stdio: "pipe",
    }).toString()
  }
  test.each<[string, () => unknown, string?]>([
    ["what is no JSON", () => "{"],
    ["no object", () => "[]"],
    ["no target", () => ({ certificate: null })],
    ["no type", () => ({ ...target(), type: undefined })],
    ["another type", () => target({ type: "gcs" })],
    ["no bucket", () => target({ config: { accessKey: "a", secretKey: "b" } })],
    ["an empty secret", () => target({ config: { bucket: "theirs", accessKey: "a", secretKey: "" } })],
    ["another sse", () => target({ config: { ...target().config, sse: "kms" } })],
    ["an endpoint without a protocol", () => target({ config: { ...target().config, endpoint: "host" } })],
    ["another fallback", () => target({ fallback: "maybe" })],
    ["a certificate that is not one", () => target({ certificate: "canary" })],
    ["a certificate of 3072 bits", () => target({ certificate: large() })],
    ["a certificate that is not of RSA", () => target({ certificate: ec() })],
    ["another content type", target, "text/plain"],
    ["an endless body", () => target({ certificate: "x".repeat(70_000) })],
  ])("is refused with %s, and nothing changes", async (_, body, type) => {
    const response = await put(body(), type)
    expect(response.status).toBe(400)
    expect(await response.text()).not.toContain("canary")
    expect(rest.storage).toBeNull()
    expect(await cloud.record({ size: 752 })).toMatchObject({ recording: { size: 768 } })
  })

  test("is not set without a token, and only by PUT", async () => {
    const init = { method: "PUT", body: JSON.stringify(target()) }
    const headers = { "content-type": "application/json" }
    expect((await ask(`${PROJECT}/archive/storage`, headers, init)).status).toBe(403)
    expect((await get("archive/storage")).status).toBe(405)
    expect(rest.storage).toBeNull()
  })
})
