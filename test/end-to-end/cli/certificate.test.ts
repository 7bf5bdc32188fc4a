/** `unseal certificate` and the real openssl: each accepts what the other makes. */
import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { runCli } from "../../harness/process.ts"

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-certificate-"))
})
afterEach(() => rm(directory, { recursive: true }))

const path = (name: string) => join(directory, name)
const text = (name: string) => readFile(path(name), "utf8")
const openssl = (...args: string[]) =>
  execFileSync("openssl", args, { cwd: directory, stdio: "pipe" }).toString()
const mode = async (name: string) => (await stat(path(name))).mode & 0o777

const create = (...args: string[]) =>
  runCli(["certificate", "create", "--out", path("cert.pem"), "--keyout", path("key.pem"), ...args])
async function check(...args: string[]) {
  const { code, stdout, stderr } = await runCli(["certificate", "check", ...args, "--json"])
  const said = stdout.length > 0 ? JSON.parse(stdout.toString()) : {}
  return { code, stderr, said }
}
/** Checks the pair: openssl encrypts and unwraps a password with it. */
function opensslAgrees(...passin: string[]): void {
  openssl("pkeyutl", "-encrypt", "-certin", "-inkey", "cert.pem", "-in", "plain", "-out", "wrapped", ...OAEP)
  openssl("pkeyutl", "-decrypt", "-inkey", "key.pem", "-in", "wrapped", "-out", "back", ...OAEP, ...passin)
}
const OAEP = ["-pkeyopt", "rsa_padding_mode:oaep"]

it("makes the folder for the key, accessible to its owner alone", async () => {
  const key = path("keys/deep/key.pem")
  const result = await runCli([
    ...["certificate", "create", "--no-passphrase", "--out", path("made.pem"), "--keyout", key],
  ])
  expect(result).toMatchObject({ code: 0 })
  expect((await stat(path("keys/deep"))).mode & 0o777).toBe(0o700)
  expect((await stat(key)).mode & 0o777).toBe(0o600)
})

describe("create", () => {
  it("makes what the guide's openssl command makes", async () => {
    const { code, stdout } = await create(
      "--generate-passphrase",
      "--subject",
      "/C=DE/O=Acme, Inc./CN=archives",
    )
    expect(code).toBe(0)
    expect(stdout.toString().split("\n").filter(Boolean)).toEqual(
      ["key.passphrase", "key.pem", "cert.pem"].map(path),
    )
    expect(await Promise.all(["key.passphrase", "key.pem"].map(mode))).toEqual([0o600, 0o600])
    expect((await readdir(directory)).sort()).toEqual(["cert.pem", "key.passphrase", "key.pem"])

    openssl(
      ...[
        "req",
        "-new",
        "-x509",
        "-days",
        "365",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/C=DE/O=Acme, Inc./CN=archives",
      ],
      ...["-out", "theirs.pem", "-keyout", "theirs.key", "-passout", "pass:abcd"],
    )
    // Two certificates differ only in serial number, key, dates and signature.
    const shape = (name: string) =>
      openssl("x509", "-in", name, "-noout", "-text").replace(
        /([0-9a-fA-F]{2}:)+[0-9a-fA-F]{2}|.*\d\d:\d\d:\d\d.*/g,
        "…",
      )
    const lines = (name: string) =>
      shape(name)
        .split("\n")
        .filter((line) => !/^\s*…?:?$/.test(line))
    expect(lines("cert.pem")).toEqual(lines("theirs.pem"))
    expect((await text("key.pem")).split("\n")[0]).toBe((await text("theirs.key")).split("\n")[0])

    expect(openssl("verify", "-CAfile", "cert.pem", "cert.pem")).toContain("OK")
    openssl("rsa", "-in", "key.pem", "-passin", "file:key.passphrase", "-check", "-noout")
    await writeFile(path("plain"), Buffer.alloc(51, 7))
    opensslAgrees("-passin", "file:key.passphrase")
    expect((await readFile(path("back"))).equals(Buffer.alloc(51, 7))).toBe(true)
    expect((await check(path("cert.pem"), "--key", path("key.pem"))).said).toMatchObject({
      ...{
        pair: "proved",
        registration: [],
        decryption: [],
        keyBits: 2048,
        signature: "sha256WithRSAEncryption",
      },
    })
  })

  it("takes the passphrase from a file, and days and bits from options; a passphrase is optional", async () => {
    await writeFile(path("secret"), "correct-horse\n")
    const { code, stdout, stderr } = await create(
      ...["--passphrase-file", path("secret"), "--days", "30", "--json"],
    )
    expect(code).toBe(0)
    expect(stderr).toContain(`next: put ${path("key.pem")} and ${path("key.passphrase")} into the workers'`)
    expect(JSON.parse(stdout.toString())).toMatchObject({ protected: true, bits: 2048, days: 30 })
    openssl("rsa", "-in", "key.pem", "-passin", "pass:correct-horse", "-check", "-noout")
    expect(() => openssl("rsa", "-in", "key.pem", "-passin", "pass:wrong", "-noout")).toThrow()
    const { said } = await check(
      path("cert.pem"),
      "--key",
      path("key.pem"),
      "--passphrase-file",
      path("secret"),
    )
    expect(said).toMatchObject({ pair: "proved" })
    expect(said.daysLeft).toBeLessThanOrEqual(30)

    for (const name of ["cert.pem", "key.pem"]) await rm(path(name))
    const open = await create("--no-passphrase", "--bits", "1024")
    expect(open.code).toBe(0)
    expect(open.stderr).toContain("whoever can read it can decrypt the archives")
    expect(open.stderr).toContain("keys of 1024 bits are no longer considered safe")
    // In this order, because archives use the certificate as soon as the vendor has it.
    expect(open.stderr).toContain(
      `next: put ${path("key.pem")} into the workers' key directory, then run unseal storage set … --certificate ${path("cert.pem")}`,
    )
    expect(await text("key.pem")).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
    openssl("rsa", "-in", "key.pem", "-check", "-noout")
    expect((await check(path("cert.pem"), "--key", path("key.pem"))).code).toBe(0)
  })

  it("replaces no file, and leaves none behind if it can't write all", async () => {
    await writeFile(path("cert.pem"), "precious")
    const { code, stderr } = await create("--no-passphrase")
    expect(code).toBe(2)
    expect(stderr).toContain("cert.pem exists already")
    expect(await text("cert.pem")).toBe("precious")
    expect(await readdir(directory)).toEqual(["cert.pem"])

    // A missing folder is made, but here a file is in the way.
    const blocked = path("cert.pem/new.pem")
    const failed = await runCli([
      "certificate",
      "create",
      "--no-passphrase",
      "--out",
      blocked,
      "--keyout",
      path("k.pem"),
    ])
    expect(failed.code).toBe(2)
    expect(failed.stderr).toMatch(
      /new\.pem can't be written: \S+cert\.pem is a file, or leads through one; nothing/,
    )
    expect(await readdir(directory)).toEqual(["cert.pem"])
  })

  it("makes no key that the vendor would refuse, unless told to", async () => {
    const { code, stderr } = await create("--no-passphrase", "--bits", "3072")
    expect(code).toBe(2)
    expect(stderr).toContain("the vendor takes keys of 2048 bits or fewer, not 3072 (--allow-large")
    expect((await create("--no-passphrase", "--bits", "3072", "--allow-large")).code).toBe(0)
    expect(openssl("x509", "-in", "cert.pem", "-noout", "-text")).toContain("(3072 bit)")
    const checked = await check(path("cert.pem"), "--key", path("key.pem"))
    expect(checked.code).toBe(1)
    expect(checked.said).toMatchObject({
      registration: ["its key has 3072 bits, and the vendor takes 2048 or fewer"],
      decryption: [],
    })
    expect((await check(path("cert.pem"), "--key", path("key.pem"), "--allow-large")).code).toBe(0)
  })

  it.each<[string, string[], string]>([
    [
      "a key too small for a password",
      ["--no-passphrase", "--bits", "512"],
      "a password, which needs 744 or more",
    ],
    ["two ways to a passphrase", ["--no-passphrase", "--generate-passphrase"], "are both given"],
    ["no terminal to ask", [], "there is no terminal to ask for a passphrase"],
    ["an unknown subject", ["--no-passphrase", "--subject", "/WHAT=x"], "names a field that is not known"],
    ["a subject of another form", ["--no-passphrase", "--subject", "archives"], "does not begin with /"],
    ["no days", ["--no-passphrase", "--days", "0"], "must be a whole number from 1"],
  ])("says what is wrong with %s", async (_name, args, message) => {
    const { code, stderr } = await create(...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(await readdir(directory)).toEqual([])
  })

  it.runIf(process.getuid?.() === 0)(
    "says where there is no space, or nobody may write, and writes nothing",
    async () => {
      const target = path("target")
      await mkdir(target)
      const into = () =>
        runCli([
          "certificate",
          "create",
          "--no-passphrase",
          "--out",
          join(target, "c.pem"),
          "--keyout",
          join(target, "k.pem"),
        ])
      for (const [options, words] of [
        [
          "size=4k,nr_inodes=20",
          `can't be written: no space is left in ${target} (ENOSPC); nothing was written`,
        ],
        ["ro", `can't be written: ${target} is on a file system that is read-only; nothing was written`],
      ] as const) {
        execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", target])
        try {
          if (options !== "ro") await writeFile(join(target, "filler"), Buffer.alloc(4096))
          expect(await into()).toMatchObject({ code: 2, stderr: expect.stringContaining(words) })
          expect((await readdir(target)).filter((name) => name !== "filler")).toEqual([])
        } finally {
          execFileSync("umount", [target])
        }
      }
    },
  )

  it.each<[string, string, string]>([
    ["short", "abc\n", "3 bytes: openssl takes 4 to 1024"],
    ["of two lines", "abcdef\nghi\n", "more than one line"],
    ["behind a byte order mark", "\uFEFFabcdef\n", "begins with a byte order mark, which openssl takes"],
  ])("refuses a passphrase that is %s", async (_name, content, message) => {
    await writeFile(path("secret"), content)
    const { code, stderr } = await create("--passphrase-file", path("secret"))
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe("encode", () => {
  it("gives what the guide's openssl command gives, and the form with line breaks", async () => {
    await create("--no-passphrase")
    const theirs = openssl("enc", "-base64", "-in", "cert.pem", "-A")
    const one = await runCli(["certificate", "encode", path("cert.pem"), "--form", "base64"])
    expect(one.stdout.toString()).toBe(`${theirs}\n`)
    const { stdout } = await runCli(["certificate", "encode", path("cert.pem"), "--json"])
    expect(JSON.parse(stdout.toString())).toEqual({ base64: theirs, newlines: await text("cert.pem") })
    const both = (await runCli(["certificate", "encode", path("cert.pem")])).stdout.toString().split("\n")
    expect(both[0]).toBe(`base64    ${theirs}`)
    expect(JSON.parse(both[1]!.replace(/^newlines +/, ""))).toBe(await text("cert.pem"))
  })

  it("never prints a key in the same file", async () => {
    await create("--no-passphrase")
    const certificate = await text("cert.pem")
    await writeFile(path("all.pem"), (await text("key.pem")) + openssl("x509", "-in", "cert.pem", "-text"))
    const { stdout } = await runCli(["certificate", "encode", path("all.pem"), "--json"])
    expect(JSON.parse(stdout.toString()).newlines).toBe(certificate)
    expect(stdout.toString()).not.toContain("PRIVATE")
  })

  it("says how to convert DER, and what a file is if it is not a certificate", async () => {
    await create("--no-passphrase")
    openssl("x509", "-in", "cert.pem", "-outform", "DER", "-out", "cert.der")
    const der = await runCli(["certificate", "encode", path("cert.der")])
    expect(der.code).toBe(2)
    expect(der.stderr).toContain(`openssl x509 -inform DER -in ${path("cert.der")} -out cert.pem`)
    execFileSync("sh", ["-c", "openssl x509 -inform DER -in cert.der -out converted.pem"], { cwd: directory })
    expect((await runCli(["certificate", "encode", path("converted.pem")])).code).toBe(0)
    const key = await runCli(["certificate", "encode", path("key.pem")])
    expect(key.stderr).toContain("holds no PEM certificate, only a private key")
    expect((await runCli(["certificate", "encode", path("absent.pem")])).code).toBe(2)
  })
})

describe("check", () => {
  const made = (...args: string[]) =>
    openssl(...["req", "-new", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=a", "-out", "cert.pem"], ...args)

  it.each<[string, string[], string | null]>([
    ["PKCS#8", ["pkey"], null],
    ["PKCS#1", ["rsa", "-traditional"], null],
    ["PKCS#8 under AES-256", ["pkcs8", "-topk8", "-v2", "aes-256-cbc"], "abcd"],
    [
      "PKCS#8 under AES-128 with SHA-1",
      ["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"],
      "abcd",
    ],
    ["PKCS#8 under 3DES", ["pkcs8", "-topk8", "-v2", "des3"], "abcd"],
    ["PKCS#8 under scrypt", ["pkcs8", "-topk8", "-scrypt"], "abcd"],
    ["PKCS#1 with DEK-Info and AES-128", ["rsa", "-traditional", "-aes128"], "abcd"],
    ["PKCS#1 with DEK-Info and AES-256", ["rsa", "-traditional", "-aes256"], "abcd"],
    ["PKCS#1 with DEK-Info and 3DES", ["rsa", "-traditional", "-des3"], "abcd"],
  ])("proves a pair whose key openssl wrote as %s", async (_name, form, passphrase) => {
    made("-nodes", "-keyout", "plain.key")
    const out = passphrase === null ? [] : ["-passout", `pass:${passphrase}`]
    openssl(...form, "-in", "plain.key", "-out", "key.pem", ...out)
    if (passphrase !== null) {
      expect(await text("key.pem")).toContain("ENCRYPTED")
      const locked = await check(path("cert.pem"), "--key", path("key.pem"))
      expect(locked.code).toBe(2)
      expect(locked.stderr).toContain("protected by a passphrase and none was given")
      await writeFile(path("key.passphrase"), `${passphrase}\n`)
    }
    const { code, said } = await check(path("cert.pem"), "--key", path("key.pem"))
    expect(said).toMatchObject({ pair: "proved", registration: [], decryption: [] })
    expect(code).toBe(0)
  })

  it("finds another key, and a chain in the wrong order", async () => {
    made("-nodes", "-keyout", "other.key")
    const other = await text("cert.pem")
    made("-nodes", "-keyout", "key.pem")
    const wrong = await check(path("cert.pem"), "--key", path("other.key"))
    expect(wrong.code).toBe(1)
    expect(wrong.said).toMatchObject({
      pair: "failed",
      decryption: ["the key is not that of the certificate"],
    })

    const own = await text("cert.pem")
    await writeFile(path("chain.pem"), own + other)
    expect((await check(path("chain.pem"), "--key", path("key.pem"))).code).toBe(0)
    await writeFile(path("chain.pem"), other + own)
    const reversed = await check(path("chain.pem"), "--key", path("key.pem"))
    expect(reversed.code).toBe(1)
    expect(reversed.said.decryption).toEqual([
      "the key is that of certificate 2 in the file, which must be the first",
    ])
  })

  it("distinguishes an expired certificate from one that can't decrypt", async () => {
    openssl("genrsa", "-out", "key.pem", "2048")
    openssl("req", "-new", "-key", "key.pem", "-subj", "/CN=a", "-out", "request.pem")
    // The dates are in the past, which only `openssl ca` allows.
    await writeFile(path("index"), "")
    await writeFile(path("serial"), "01")
    await writeFile(
      path("ca.conf"),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`,
    )
    openssl(
      ...["ca", "-batch", "-config", "ca.conf", "-selfsign", "-keyfile", "key.pem", "-in", "request.pem"],
      ...["-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext", "-out", "cert.pem"],
    )
    const expired = await check(path("cert.pem"), "--key", path("key.pem"))
    expect(expired.code).toBe(1)
    expect(expired.said).toMatchObject({
      ...{ pair: "proved", decryption: [], registration: ["it expired at 2021-01-01T00:00:00.000Z"] },
    })
    expect(expired.stderr).toContain("decrypted all the same")
    expect((await check(path("cert.pem"), "--key", path("key.pem"), "--for", "decryption")).code).toBe(0)
  })

  it("warns before a certificate expires, and has words for people", async () => {
    made("-days", "10", "-nodes", "-keyout", "key.pem")
    const { code, stdout, stderr } = await runCli(["certificate", "check", path("cert.pem")])
    expect(code).toBe(0)
    expect(stderr).toMatch(/valid for (9|10) more days/)
    expect(stdout.toString()).toMatch(/^registration +ok$/m)
    expect(stdout.toString()).toMatch(/^pair +give --key$/m)
  })

  it("names the type of a key that is not RSA", async () => {
    openssl(
      "req",
      "-new",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-subj",
      "/CN=a",
      "-out",
      "cert.pem",
      "-keyout",
      "key.pem",
    )
    const { code, said } = await check(path("cert.pem"))
    expect(code).toBe(1)
    expect(said.registration).toEqual(["its key is of type ec, and the vendor takes RSA only"])
  })
})
