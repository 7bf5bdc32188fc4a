import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { chmod, copyFile, mkdtemp, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { decodeEncryptedPassword, parsePassword } from "../format/password.ts"
import { openKeyDirectory } from "./directory.ts"
import { readPrivateKey } from "./private-key.ts"

const vectors = join(import.meta.dirname, "../../../../test/vectors")
const never = new AbortController().signal
const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" })

async function passwordOf(vector: string): Promise<Uint8Array> {
  return decodeEncryptedPassword(await readFile(join(vectors, vector, "password.b64"), "utf8"))
}

describe("a key directory", () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-keys-"))
  })
  afterEach(() => rm(directory, { recursive: true }))
  const place = (vector: string, name: string) =>
    copyFile(join(vectors, vector, "key.pem"), join(directory, name))

  it("unwraps with any of its keys, newest modified first", async () => {
    await place("openssl-zero", "old.pem")
    await place("openssl-pkcs7", "new.pem")
    await utimes(join(directory, "old.pem"), 1000, 1000)
    const ring = await openKeyDirectory(directory)
    expect(ring.describe().map((key) => key.name)).toEqual(["new.pem", "old.pem"])
    for (const vector of ["openssl-zero", "openssl-pkcs7"])
      expect(parsePassword((await ring.unwrap(await passwordOf(vector), never))!.password).key.length).toBe(
        32,
      )
    expect(await ring.unwrap(await passwordOf("openssl-passphrase"), never)).toBeNull()
  })

  it("opens a protected key with the passphrase beside it, with or without a newline", async () => {
    await place("openssl-passphrase", "key.pem")
    for (const text of ["correct-horse", "correct-horse\n", "correct-horse\r\n"]) {
      await writeFile(join(directory, "key.passphrase"), text)
      const ring = await openKeyDirectory(directory)
      expect(ring.problems()).toEqual([])
      expect(await ring.unwrap(await passwordOf("openssl-passphrase"), never)).not.toBeNull()
    }
  })

  it("names the files that it does not look into", async () => {
    await place("openssl-passphrase", "key.pem")
    for (const name of ["key.passphrase", "key.pem.bak", "old.passphrase", "..data"])
      await writeFile(join(directory, name), "correct-horse")
    const notes = (await openKeyDirectory(directory)).notes()
    expect(notes.filter(({ kind }) => kind === "ignored")).toEqual([
      { name: "key.pem.bak", kind: "ignored", message: expect.stringMatching(/does not end in \.pem$/) },
      { name: "old.passphrase", kind: "ignored", message: expect.stringMatching(/no old\.pem beside it$/) },
    ])
  })

  it("finds a key that was added later, without a restart", async () => {
    const ring = await openKeyDirectory(directory, { refreshMs: 60_000 })
    expect(await ring.unwrap(await passwordOf("openssl-zero"), never)).toBeNull()
    await place("openssl-zero", "added.pem")
    expect(await ring.unwrap(await passwordOf("openssl-zero"), never)).not.toBeNull()
  })

  it("keeps the old key of a file that turns bad, and reports that", async () => {
    await place("openssl-zero", "key.pem")
    const ring = await openKeyDirectory(directory, { refreshMs: 0 })
    await writeFile(join(directory, "key.pem"), "rubbish")
    expect(await ring.unwrap(await passwordOf("openssl-zero"), never)).not.toBeNull()
    expect(ring.problems()).toEqual([
      {
        name: "key.pem",
        error: expect.objectContaining({
          code: "ERR_KEY_INVALID",
          message: "key.pem holds no PEM private key",
        }),
      },
    ])
    await place("openssl-zero", "key.pem")
    await ring.refresh()
    expect(ring.problems()).toEqual([])
  })

  it("is unavailable, rather than without a match, while one of its files is unusable", async () => {
    await place("openssl-zero", "good.pem")
    await place("openssl-passphrase", "protected.pem")
    await writeFile(join(directory, "protected.passphrase"), "wrong")
    const ring = await openKeyDirectory(directory)
    await expect(ring.unwrap(await passwordOf("openssl-passphrase"), never)).rejects.toMatchObject({
      code: "ERR_KEY_SERVICE_UNAVAILABLE",
      message: expect.stringMatching(
        /^the only usable key does not fit, and a key file in \S+ can't be used: .*wrong passphrase \(5 bytes\)/,
      ),
    })
  })

  it("reports that it has no usable key, and how many files there are", async () => {
    await writeFile(join(directory, "a.pem"), "rubbish")
    const ring = await openKeyDirectory(directory)
    const unwrap = async () => ring.unwrap(await passwordOf("openssl-zero"), never)
    await expect(unwrap()).rejects.toMatchObject({
      code: "ERR_KEY_SERVICE_UNAVAILABLE",
      message: `the only key file in ${directory} can't be used: a.pem holds no PEM private key`,
    })
    await writeFile(join(directory, "b.pem"), "rubbish, too")
    await expect(unwrap()).rejects.toMatchObject({
      message: `none of the 2 key files in ${directory} can be used; the first: a.pem holds no PEM private key`,
    })
  })

  it("opens no pipe, no device, and nothing too large for a key, and goes on without", async () => {
    await place("openssl-zero", "key.pem")
    execFileSync("mkfifo", [join(directory, "pipe.pem")])
    await symlink("/dev/zero", join(directory, "zeros.pem"))
    await writeFile(join(directory, "large.pem"), Buffer.alloc(1024 * 1024 + 1))
    await place("openssl-passphrase", "protected.pem")
    execFileSync("mkfifo", [join(directory, "protected.passphrase")])
    const ring = await openKeyDirectory(directory)
    expect(await ring.unwrap(await passwordOf("openssl-zero"), never)).not.toBeNull()
    expect(ring.problems().map(({ error }) => error.message)).toEqual([
      "large.pem can't be read: it has 1048577 bytes, more than the 1048576 that are read",
      "pipe.pem can't be read: it is not a regular file",
      `${join(directory, "protected.passphrase")} is not a regular file`,
      "zeros.pem can't be read: it is not a regular file",
    ])
  })

  it("reports keys that every user of the machine may read", async () => {
    await place("openssl-zero", "key.pem")
    await chmod(join(directory, "key.pem"), 0o640)
    const ring = await openKeyDirectory(directory)
    expect(ring.notes()).toEqual([])
    await chmod(join(directory, "key.pem"), 0o644)
    await ring.refresh()
    expect(ring.notes()).toMatchObject([{ name: "key.pem", kind: "exposed" }])
  })

  it.each(["utf8", "utf16le", "utf16be"] as const)(
    "takes key, passphrase and certificate as editors of every system save them: %s with a byte order mark",
    async (encoding) => {
      const from = join(vectors, "openssl-passphrase")
      for (const name of ["key.pem", "key.passphrase", "cert.pem"]) {
        const text = `\uFEFF${(await readFile(join(from, name), "utf8")).trimEnd()}\r\n`
        const bytes = Buffer.from(text, encoding === "utf8" ? "utf8" : "utf16le")
        await writeFile(join(directory, name), encoding === "utf16be" ? bytes.swap16() : bytes)
      }
      const ring = await openKeyDirectory(directory)
      expect(ring.problems()).toEqual([])
      expect(await ring.unwrap(await passwordOf("openssl-passphrase"), never)).not.toBeNull()
      expect(ring.certificates()).toMatchObject([{ keyId: ring.describe()[0]!.keyId }])
    },
  )

  it("tries a passphrase unchanged first: openssl takes a byte order mark for a part of it", async () => {
    const passphrase = "\uFEFFfrom another editor"
    const key = join(directory, "key.pem")
    execFileSync("openssl", [
      ...["rsa", "-aes256", "-passout", `pass:${passphrase}`, "-out", key],
      ...["-in", join(vectors, "openssl-zero/key.pem")],
    ])
    await writeFile(join(directory, "key.passphrase"), passphrase)
    const ring = await openKeyDirectory(directory)
    expect(ring.problems()).toEqual([])
  })

  it("skips a certificate, which openssl puts beside its key", async () => {
    await place("openssl-zero", "key.pem")
    await copyFile(join(vectors, "openssl-zero/cert.pem"), join(directory, "cert.pem"))
    const ring = await openKeyDirectory(directory)
    expect(ring.problems()).toEqual([])
    expect(ring.describe().map((key) => key.name)).toEqual(["key.pem"])
    expect(await ring.unwrap(await passwordOf("openssl-pkcs7"), never)).toBeNull()
  })

  it("knows the certificates of its keys, in files of their own or beside the key, and no others", async () => {
    await place("openssl-zero", "key.pem")
    const pem = (vector: string) => readFile(join(vectors, vector, "cert.pem"), "utf8")
    await writeFile(join(directory, "cert.pem"), (await pem("openssl-zero")) + (await pem("openssl-pkcs7")))
    const ring = await openKeyDirectory(directory, { refreshMs: 60_000 })
    const [key] = ring.describe()
    expect(ring.certificates()).toMatchObject([{ name: "cert.pem", keyId: key!.keyId, modulusBits: 2048 }])
    const end = openssl("x509", "-in", join(directory, "cert.pem"), "-noout", "-enddate").toString()
    expect(ring.certificates()[0]!.notAfter).toEqual(new Date(end.replace("notAfter=", "")))

    await writeFile(
      join(directory, "both.pem"),
      (await readFile(join(vectors, "openssl-pkcs7/key.pem"), "utf8")) + (await pem("openssl-pkcs7")),
    )
    await writeFile(
      join(directory, "damaged.pem"),
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    await ring.refresh()
    expect(ring.problems()).toEqual([])
    expect(ring.certificates().map(({ name }) => name)).toEqual(["both.pem", "cert.pem", "cert.pem"])
    await rm(join(directory, "cert.pem"))
    await ring.refresh()
    expect(ring.certificates().map(({ name }) => name)).toEqual(["both.pem"])
  })

  it("forgets a removed key", async () => {
    await place("openssl-zero", "key.pem")
    const ring = await openKeyDirectory(directory, { refreshMs: 0 })
    await rm(join(directory, "key.pem"))
    expect(await ring.unwrap(await passwordOf("openssl-zero"), never)).toBeNull()
  })

  it("knows when it was last read, which a failed look does not change", async () => {
    await place("openssl-zero", "key.pem")
    const ring = await openKeyDirectory(directory, { refreshMs: 60_000 })
    const at = ring.lookedAt()
    await rename(directory, `${directory}.away`)
    await expect(ring.refresh()).rejects.toMatchObject({ code: "ERR_KEY_SERVICE_UNAVAILABLE" })
    expect(ring.lookedAt()).toBe(at)
    await rename(`${directory}.away`, directory)
    await expect.poll(() => ring.refresh().then(() => ring.lookedAt())).toBeGreaterThan(at)
  })

  it("that does not exist is an unavailable key service", async () => {
    await expect(openKeyDirectory(join(directory, "absent"))).rejects.toMatchObject({
      code: "ERR_KEY_SERVICE_UNAVAILABLE",
      message: expect.stringContaining("ENOENT"),
    })
  })

  it.each([
    ["PKCS#1", ["-traditional"], undefined],
    ["PKCS#8 with a passphrase", ["-aes256", "-passout", "pass:abc"], "abc"],
    ["legacy DEK-Info with AES", ["-traditional", "-aes256", "-passout", "pass:abc"], "abc"],
    ["legacy DEK-Info with 3DES", ["-traditional", "-des3", "-passout", "pass:abc"], "abc"],
  ])("reads %s as openssl writes it, with the same key id", async (_, options, passphrase) => {
    const source = join(vectors, "openssl-zero/key.pem")
    const path = join(directory, "key.pem")
    openssl("rsa", "-in", source, "-out", path, ...options)
    const given = passphrase === undefined ? {} : { passphrase: Buffer.from(passphrase) }
    expect((await readPrivateKey(path, given)).keyId).toBe((await readPrivateKey(source)).keyId)
    if (passphrase === undefined) return
    await expect(readPrivateKey(path)).rejects.toMatchObject({
      code: "ERR_KEY_INVALID",
      message: expect.stringContaining("protected by a passphrase, but none was given"),
    })
    await expect(readPrivateKey(path, { passphrase: Buffer.from("abcd") })).rejects.toMatchObject({
      code: "ERR_KEY_INVALID",
      message: expect.stringContaining("wrong passphrase (4 bytes)"),
    })
  })

  it("names a key by the SHA-256 of its public key, as openssl computes it", async () => {
    const source = join(vectors, "openssl-pkcs7/key.pem")
    const der = openssl("rsa", "-in", source, "-pubout", "-outform", "DER")
    expect((await readPrivateKey(source)).keyId).toBe(createHash("sha256").update(der).digest("hex"))
  })
})
