/** `unseal` as a user runs it, on archives made by the openssl command or recorded by the simulated cloud. */
import { execFile, execFileSync } from "node:child_process"
import { createCipheriv, createHash, randomBytes, X509Certificate } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { promisify } from "node:util"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { createCertificate, decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { startS3Server } from "@unseal/simulator/s3/http/server"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type CliResult, runCli } from "../../harness/process.ts"
import { S3_CREDENTIAL } from "../../harness/stores.ts"

const execute = promisify(execFile)
const vectors = join(import.meta.dirname, "../../vectors")
const sample = await readFile(join(vectors, "audio-only-12s.mpegts"))
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
/** Makes an archive of exactly `size` bytes in `name.enc`. Resolves to its encrypted password. */
async function record(name: string, size: number): Promise<string> {
  const tail = size % 188 === 0 ? "none" : "zero"
  const recording = makeRecording({ sample, publicKey, size, exact: true, tail })
  await pipeline(recording.ciphertext, createWriteStream(path(`${name}.enc`)))
  return recording.encryptedPassword
}

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

  it("warns if a source is not of the announced size, or refuses it if that is required", async () => {
    const file = (name: string) => join(vectors, "openssl-zero", name)
    const whole = await readFile(file("archive.enc"))
    await writeFile(path("cut.enc"), whole.subarray(0, 64_000))
    await writeFile(
      path("announced.json"),
      JSON.stringify({ ...JSON.parse(await readFile(file("callback.json"), "utf8")), size: whole.length }),
    )
    const decrypt = (source: string, ...more: string[]) =>
      runCli(["decrypt", source, path("cut.ts"), "--key", file("key.pem"), "--overwrite", ...more])
    const callback = ["--callback", path("announced.json")]
    const warning = `64000 bytes, but the callback announced ${whole.length}`
    const warned = await decrypt(path("cut.enc"), ...callback)
    expect(warned).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`${warning}: it may have been cut short`),
    })
    await rm(path("cut.ts"))
    const refused = { code: 1, stderr: expect.stringMatching(`ERR_OBJECT_INCOMPLETE.*${warning}`) }
    expect(await decrypt(path("cut.enc"), ...callback, "--require-size")).toMatchObject(refused)
    expect(await readdir(directory)).not.toContain("cut.ts")
    const usage = await decrypt(path("cut.enc"), "--password-file", file("password.b64"), "--require-size")
    expect(usage).toMatchObject({ code: 2, stderr: expect.stringContaining("give --callback") })
    const fits = await decrypt(file("archive.enc"), ...callback, "--require-size")
    expect(fits).toMatchObject({ code: 0, stderr: expect.not.stringContaining("warning") })
  })

  it("refuses an archive with too many damaged packets, unless --max-damage or UNSEAL_MAX_DAMAGE allows them", async () => {
    const plaintext = Buffer.concat(Array<Buffer>(4).fill(sample))
    const packets = plaintext.length / 188
    const broken = Math.ceil(packets * 0.87)
    for (let packet = packets - broken; packet < packets; packet++) plaintext[packet * 188] = 0
    const [key, iv] = [randomBytes(32), randomBytes(16)]
    const cipher = createCipheriv("aes-256-cbc", key, iv)
    await writeFile(path("damaged.enc"), Buffer.concat([cipher.update(plaintext), cipher.final()]))
    const password = wrapPassword(encodePassword({ key, iv }), publicKey)
    const decrypt = (args: string[], env = {}) =>
      runCli(
        [
          ...["decrypt", path("damaged.enc"), path("damaged.ts"), "--tail", "trim", ...args],
          ...["--password", password, "--key", certificate.keyFile],
        ],
        { env },
      )
    const most = (percent: number) =>
      `${broken} of the ${packets} packets .*\\(87 %\\).* at most ${percent} %[\\s\\S]*--max-damage PERCENT`
    const refused = (percent: number) => ({
      code: 1,
      stderr: expect.stringMatching(`ERR_CIPHERTEXT_INVALID: .*${most(percent)}`),
    })
    expect(await decrypt([])).toMatchObject(refused(50))
    expect(await decrypt(["--max-damage", "86"])).toMatchObject(refused(86))
    // The command line takes precedence over the environment.
    expect(await decrypt(["--max-damage", "0"], { UNSEAL_MAX_DAMAGE: "100" })).toMatchObject(refused(0))
    expect(await readdir(directory)).not.toContain("damaged.ts")

    const told = `damaged: ${broken} of ${packets} packets without a sync byte`
    const taken = { code: 0, stderr: expect.stringContaining(told) }
    expect(await decrypt(["--max-damage", "90"])).toMatchObject(taken)
    expect((await readFile(path("damaged.ts"))).equals(plaintext)).toBe(true)
    expect(await decrypt(["--overwrite"], { UNSEAL_MAX_DAMAGE: "100" })).toMatchObject(taken)

    for (const wrong of ["101", "-1", "half", "1e2"])
      expect(await decrypt([`--max-damage=${wrong}`])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("must be a whole number from 0 to 100"),
      })
    expect(await decrypt([], { UNSEAL_MAX_DAMAGE: "101" })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/UNSEAL_MAX_DAMAGE .*100/),
    })
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

  describe("fails with its own code, message and exit status, and leaves nothing behind:", () => {
    let good: string
    beforeAll(async () => {
      good = await record("good", 752 * 20)
      await writeFile(path("short.enc"), (await readFile(path("good.enc"))).subarray(0, -5))
      await writeFile(path("plaintext.enc"), Buffer.alloc(1600, 1))
      await copyFile(join(vectors, "openssl-passphrase/key.pem"), path("protected.pem"))
      await writeFile(path("wrong.passphrase"), "wrong")
      await writeFile(path("rubbish.json"), "{ not json, password: secret-text }")
      await writeFile(path("malformed.json"), JSON.stringify({ id: "../../etc/passwd", status: 7 }))
    })
    const cases: [string, number, RegExp, () => string[]][] = [
      [
        "not base64",
        1,
        /ERR_PASSWORD_INVALID: .*character 5 of 10/,
        () => ["good.enc", "--password", "e42c...d23"],
      ],
      [
        "another RSA length",
        1,
        /ERR_NO_MATCHING_KEY: .*128 bytes; the only key takes 256/,
        () => ["good.enc", "--password", Buffer.alloc(128, 7).toString("base64")],
      ],
      [
        "no fitting key",
        1,
        /ERR_NO_MATCHING_KEY: .*does not unwrap/,
        () => ["good.enc", "--password-file", join(vectors, "openssl-zero/password.b64")],
      ],
      [
        "a wrong passphrase",
        2,
        /ERR_KEY_INVALID: .*wrong passphrase \(5 bytes\)/,
        () => [
          "good.enc",
          "--password",
          good,
          "--key",
          path("protected.pem"),
          "--passphrase-file",
          path("wrong.passphrase"),
        ],
      ],
      [
        "no passphrase",
        2,
        /ERR_KEY_INVALID: .*protected by a passphrase and none was given/,
        () => ["good.enc", "--password", good, "--key", path("protected.pem")],
      ],
      [
        "a missing source",
        2,
        /absent\.enc does not exist: check the name/,
        () => ["absent.enc", "--password", good],
      ],
      [
        "a source that is cut short",
        1,
        /ERR_CIPHERTEXT_INVALID: .*15035 bytes is not a whole number/,
        () => ["short.enc", "--password", good],
      ],
      [
        "another archive's content key",
        1,
        /ERR_NOT_MPEG_TS: \d of the first 9 packets/,
        () => ["plaintext.enc", "--password", good],
      ],
      [
        "a callback that is no JSON",
        1,
        /ERR_JOB_INVALID: .*rubbish\.json is not JSON/,
        () => ["good.enc", "--callback", path("rubbish.json")],
      ],
      [
        "a malformed callback",
        1,
        /ERR_JOB_INVALID: .*#\/id must be a UUID, #\/status must be a string/,
        () => ["good.enc", "--callback", path("malformed.json")],
      ],
      ["no password at all", 2, /exactly one of --password/, () => ["good.enc"]],
      [
        "a key file that is not there",
        2,
        /absent\.pem does not exist: check the path/,
        () => ["good.enc", "--password", good, "--key", path("absent.pem")],
      ],
    ]
    it.each(cases)("%s", async (_, status, message, options) => {
      const [source, ...rest] = options()
      const key = rest.includes("--key") ? [] : ["--key", certificate.keyFile]
      const before = await readdir(directory)
      const { code, stdout, stderr } = await runCli([
        "decrypt",
        path(source!),
        path("never.ts"),
        ...rest,
        ...key,
      ])
      expect(stderr).toMatch(message)
      expect(stderr).not.toContain("secret-text")
      expect({ code, stdout: stdout.length }).toEqual({ code: status, stdout: 0 })
      expect(await readdir(directory)).toEqual(before)
    })
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
    const wrapped = wrapPassword(password, publicKey)
    expect(await runCli(["inspect", "--password", wrapped, "--key", certificate.keyFile])).toMatchObject({
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
