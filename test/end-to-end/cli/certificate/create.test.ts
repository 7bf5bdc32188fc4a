/** `unseal certificate create` and the real openssl: each accepts what the other makes. */
import { execFileSync } from "node:child_process"
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import {
  check,
  create,
  folder,
  openssl,
  opensslAgrees,
  path,
  text,
  useCertificateFolder,
} from "../../../harness/cli/certificate-folder.ts"
import { runCli } from "../../../harness/process.ts"

useCertificateFolder()

const mode = async (name: string) => (await stat(path(name))).mode & 0o777

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
    expect((await readdir(folder())).sort()).toEqual(["cert.pem", "key.passphrase", "key.pem"])

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
    expect(await readdir(folder())).toEqual(["cert.pem"])

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
    expect(await readdir(folder())).toEqual(["cert.pem"])
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
    ["an unknown subject", ["--no-passphrase", "--subject", "/WHAT=x"], "names an unknown field"],
    ["a subject of another form", ["--no-passphrase", "--subject", "archives"], "does not begin with /"],
    ["no days", ["--no-passphrase", "--days", "0"], "must be a whole number from 1"],
  ])("says what is wrong with %s", async (_name, args, message) => {
    const { code, stderr } = await create(...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(await readdir(folder())).toEqual([])
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
