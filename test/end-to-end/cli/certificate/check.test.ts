/** `unseal certificate encode` and `check`, with what the real openssl makes. */
import { execFileSync } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import {
  check,
  create,
  folder,
  openssl,
  path,
  text,
  useCertificateFolder,
} from "../../../harness/cli/certificate-folder.ts"
import { runCli } from "../../../harness/process.ts"

useCertificateFolder()

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
    execFileSync("sh", ["-c", "openssl x509 -inform DER -in cert.der -out converted.pem"], { cwd: folder() })
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
      expect(locked.stderr).toContain("protected by a passphrase, but none was given")
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
