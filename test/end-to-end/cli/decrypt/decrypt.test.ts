/** `unseal decrypt` as a user runs it, on archives made by the openssl command or recorded by the simulated cloud. */
import { execFile, execFileSync } from "node:child_process"
import { createHash, X509Certificate } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { createCertificate, decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { startS3Server } from "@unseal/simulator/s3/http/server"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { recordTo, sample } from "../../../harness/cli/recorded-file.ts"
import { type CliResult, runCli } from "../../../harness/process.ts"
import { S3_CREDENTIAL } from "../../../harness/stores.ts"

const execute = promisify(execFile)
const vectors = join(import.meta.dirname, "../../../vectors")
const PART = 11_156 * 752
const GIB = 1024 * 1024 * 1024

let directory: string
let certificate: { certificateFile: string; keyFile: string }
let publicKey: X509Certificate["publicKey"]

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-cli-"))
  certificate = { certificateFile: join(directory, "cert.pem"), keyFile: join(directory, "key.pem") }
  await createCertificate(certificate)
  publicKey = new X509Certificate(await readFile(certificate.certificateFile)).publicKey
})
afterAll(() => rm(directory, { recursive: true }))

const path = (name: string) => join(directory, name)
const sha256 = async (file: string) => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(file)) hash.update(chunk)
  return hash.digest("hex")
}
const record = (name: string, size: number) => recordTo(path(`${name}.enc`), size, publicKey)

describe("unseal decrypt", () => {
  describe.each(["openssl-zero", "openssl-pkcs7", "openssl-passphrase"])("of %s", (vector) => {
    const file = (name: string) => join(vectors, vector, name)

    it("gives exactly what the three openssl commands give", async () => {
      const out = path(`${vector}.ts`)
      const args = [
        "decrypt",
        file("archive.enc"),
        out,
        "--callback",
        file("callback.json"),
        "--key",
        file("key.pem"),
        "--digest",
      ]
      const { code, stdout, stderr } = await runCli(args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("128 kB") })
      const passphrase = vector === "openssl-passphrase" ? { passphraseFile: file("key.passphrase") } : {}
      await decryptByOpenssl({
        encryptedPassword: await readFile(file("password.b64"), "utf8"),
        keyFile: file("key.pem"),
        source: file("archive.enc"),
        destination: path("expected"),
        ...passphrase,
      })
      expect((await readFile(out)).equals(await readFile(path("expected")))).toBe(true)
      expect((await readFile(out)).subarray(0, sample.length).equals(sample)).toBe(true)
      expect(stdout.toString()).toBe(`${await sha256(out)}  ${out}\n`)
    })

    it("works from standard input to standard output, and trims padding down to the sample itself", async () => {
      const args = [
        "decrypt",
        "-",
        "-",
        "--password-file",
        file("password.b64"),
        "--key",
        file("key.pem"),
        "--tail",
        "trim",
      ]
      const { code, stdout } = await runCli(args, { input: await readFile(file("archive.enc")) })
      expect(code).toBe(0)
      const filler = vector === "openssl-pkcs7" ? Buffer.alloc(0) : Buffer.alloc(4)
      expect(stdout.equals(Buffer.concat([sample, filler]))).toBe(true)
    })
  })

  it.each([0, 16, 32, 752, PART - 16, PART, PART + 16, 3 * PART + 752])(
    "of %i bytes gives what openssl gives",
    async (size) => {
      const encryptedPassword = await record(`size-${size}`, size)
      const source = path(`size-${size}.enc`)
      const args = [
        "decrypt",
        source,
        path(`size-${size}.ts`),
        "--password",
        encryptedPassword,
        "--key",
        certificate.keyFile,
      ]
      expect(await runCli(args)).toMatchObject({ code: 0 })
      await decryptByOpenssl({
        encryptedPassword,
        keyFile: certificate.keyFile,
        source,
        destination: path("expected"),
      })
      expect(await sha256(path(`size-${size}.ts`))).toBe(await sha256(path("expected")))
    },
  )

  it("of 1 GiB gives what openssl gives", async () => {
    const encryptedPassword = await record("gib", GIB)
    const args = [
      "decrypt",
      path("gib.enc"),
      path("gib.ts"),
      "--password",
      encryptedPassword,
      "--key",
      certificate.keyFile,
    ]
    expect(await runCli(args, { boundMs: 200_000 })).toMatchObject({ code: 0 })
    await decryptByOpenssl({
      encryptedPassword,
      keyFile: certificate.keyFile,
      source: path("gib.enc"),
      destination: path("gib.expected"),
    })
    execFileSync("cmp", [path("gib.ts"), path("gib.expected")])
    for (const name of ["gib.enc", "gib.ts", "gib.expected"]) await rm(path(name))
  }, 240_000)

  it("refuses an existing destination unless told to replace it", async () => {
    const encryptedPassword = await record("existing", 752)
    await writeFile(path("existing.ts"), "mine")
    const args = [
      "decrypt",
      path("existing.enc"),
      path("existing.ts"),
      "--password",
      encryptedPassword,
      "--key",
      certificate.keyFile,
    ]
    const refused = await runCli(args)
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ERR_DESTINATION_EXISTS.*4 bytes.*--overwrite/),
    })
    expect(await readFile(path("existing.ts"), "utf8")).toBe("mine")
    expect(await runCli([...args, "--overwrite"])).toMatchObject({ code: 0 })
    expect((await readFile(path("existing.ts"))).length).toBe(752)
  })

  it("distinguishes an unencrypted or empty archive from a failure", async () => {
    const callback = {
      id: "b40ef09b-3811-4726-b508-e41a0f96c68f",
      event: "archive",
      status: "uploaded",
      partnerId: 1,
      password: "",
    }
    await writeFile(path("plain.json"), JSON.stringify({ ...callback, surprise: [1] }))
    await writeFile(path("empty.enc"), "")
    const key = ["--key", certificate.keyFile]
    const plain = await runCli([
      "decrypt",
      path("empty.enc"),
      path("plain.ts"),
      "--callback",
      path("plain.json"),
      ...key,
    ])
    expect(plain).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("not encrypted, and nothing was written"),
    })
    const empty = await runCli(["decrypt", path("empty.enc"), path("empty.ts"), "--password", "AAAA", ...key])
    expect(empty).toMatchObject({ code: 0, stderr: expect.stringContaining("empty (0 bytes)") })
    expect((await readFile(path("empty.ts"))).length).toBe(0)
    expect(await readdir(directory)).not.toContain("plain.ts")
  })

  it("prints the record as JSON, and refuses unknown settings with a suggestion", async () => {
    const encryptedPassword = await record("json", 752)
    const args = [
      "decrypt",
      path("json.enc"),
      path("json.ts"),
      "--password",
      encryptedPassword,
      "--key",
      certificate.keyFile,
      "--json",
    ]
    const misspelt = await runCli(args, { env: { UNSEAL_TIAL: "trim" } })
    expect(misspelt).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean UNSEAL_TAIL?") })
    const { stdout } = await runCli(args)
    expect(JSON.parse(stdout.toString())).toMatchObject({
      outcome: "committed",
      sha256: { plaintext: await sha256(path("json.ts")) },
      tail: { form: "unpadded", padding: 0 },
      media: { packets: 4, syncErrors: 0 },
    })
  })

  it("works between buckets, and says what is wrong with them", async () => {
    const server = await startS3Server({
      credentials: [
        {
          accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
          secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
        },
      ],
      buckets: ["recordings", "decrypted"],
    })
    try {
      const query = `?endpoint=${encodeURIComponent(server.url)}&region=us-east-1&pathStyle=true`
      // Not synchronously, because the server is in this process.
      const aws = (...args: string[]) =>
        execute("aws", ["--endpoint-url", server.url, "--region", "us-east-1", ...args], {
          env: { ...process.env, ...S3_CREDENTIAL },
        })
      const encryptedPassword = await record("bucket", 2 * PART + 752)
      await aws("s3", "cp", path("bucket.enc"), "s3://recordings/1/a b/archive.ts")
      const decrypt = (
        source: string,
        destination: string,
        env: Record<string, string> = S3_CREDENTIAL,
      ): Promise<CliResult> =>
        runCli(
          ["decrypt", source, destination, "--password", encryptedPassword, "--key", certificate.keyFile],
          { env },
        )
      const source = `s3://recordings/1/a%20b/archive.ts${query}`
      expect(await decrypt(source, `s3://decrypted/out.ts${query}`)).toMatchObject({ code: 0 })
      await aws("s3", "cp", "s3://decrypted/out.ts", path("bucket.ts"))
      await decryptByOpenssl({
        encryptedPassword,
        keyFile: certificate.keyFile,
        source: path("bucket.enc"),
        destination: path("expected"),
      })
      expect(await sha256(path("bucket.ts"))).toBe(await sha256(path("expected")))
      expect(await decrypt(source, `s3://decrypted/out.ts${query}`)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("ERR_DESTINATION_EXISTS"),
      })
      expect(await decrypt(source, `s3://absent/out.ts${query}`)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/ERR_STORE_DENIED: .*absent.* does not exist/),
      })
      const wrong = { ...S3_CREDENTIAL, AWS_SECRET_ACCESS_KEY: "wrong" }
      expect(await decrypt(source, `s3://decrypted/new.ts${query}`, wrong)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("ERR_STORE_DENIED"),
      })
      const nowhere = `s3://decrypted/new.ts?endpoint=http%3A%2F%2F127.0.0.1%3A1&region=us-east-1`
      expect(await decrypt(source, nowhere)).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/ERR_STORE_UNAVAILABLE: .*ECONNREFUSED/),
      })
      expect(server.openUploads()).toEqual([])
      expect((await aws("s3", "ls", "--recursive", "s3://decrypted")).stdout).toMatch(/^[^\n]+ out\.ts\n$/)
    } finally {
      await server.close()
    }
  })
})
