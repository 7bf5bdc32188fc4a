/** Keys, callbacks and passwords in the forms that people have. */
import { existsSync } from "node:fs"
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import { execute, file, KEY, path, plaintext, useVectorFolder } from "../../../harness/cli/vector-folder.ts"
import { runCli } from "../../../harness/process.ts"

useVectorFolder()

describe("unseal decrypt", () => {
  it("gives advice for a terminal, not for workers", async () => {
    const openssl = (...args: string[]) => execute("openssl", args)
    const out = path("other.pem")
    await openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", out)
    const foreign = await runCli([
      ...["decrypt", path("archive.enc"), path("out.ts"), "--key", out],
      ...["--password-file", file("password.b64")],
    ])
    expect(foreign).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("--key FILE, which may be repeated"),
    })
    expect(foreign.stderr).not.toMatch(/redrive|key directory/)

    await openssl("rsa", "-aes256", "-passout", "pass:x", "-in", file("key.pem"), "-out", path("locked.pem"))
    const locked = await runCli([
      ...["inspect", "--password-file", file("password.b64"), "--key", path("locked.pem")],
    ])
    expect(locked).toMatchObject({ code: 2, stderr: expect.stringContaining("--passphrase-file FILE") })
  })

  it("names keys in other forms than PEM, and the command that converts each", async () => {
    const openssl = (...args: string[]) => execute("openssl", args)
    await openssl("rsa", "-in", file("key.pem"), "-outform", "DER", "-out", path("pkcs8.der"))
    await openssl("rsa", "-in", file("key.pem"), "-traditional", "-outform", "DER", "-out", path("pkcs1.der"))
    await openssl(
      ...["pkcs12", "-export", "-inkey", file("key.pem"), "-in", file("cert.pem"), "-passout", "pass:x"],
      ...["-out", path("key.p12")],
    )
    for (const [name, command] of [
      ["pkcs8.der", `openssl pkey -inform DER -in ${path("pkcs8.der")} -out NAME.pem`],
      ["pkcs1.der", `openssl pkey -inform DER -in ${path("pkcs1.der")} -out NAME.pem`],
      ["key.p12", `openssl pkcs12 -in ${path("key.p12")} -nocerts -out NAME.pem`],
    ]) {
      const args = ["inspect", "--password-file", file("password.b64"), "--key", path(name!)]
      expect(await runCli(args)).toMatchObject({ code: 2, stderr: expect.stringContaining(command!) })
    }
    await writeFile(path("flat.pem"), (await readFile(file("key.pem"), "utf8")).replaceAll("\n", "\\n"))
    const flat = await runCli([
      ...["inspect", "--password-file", file("password.b64"), "--key", path("flat.pem")],
    ])
    expect(flat).toMatchObject({ code: 0, stderr: "" })
  })

  it("takes its keys from UNSEAL_KEYS, and asks for them if it is not set", async () => {
    await mkdir(path("keys"))
    await copyFile(file("key.pem"), path("keys/key.pem"))
    const command = ["decrypt", path("archive.enc"), "-", "--password-file", file("password.b64")]
    const found = await runCli(command, { env: { UNSEAL_KEYS: path("keys") } })
    expect(found).toMatchObject({ code: 0 })
    expect(found.stdout.equals(await plaintext())).toBe(true)
    expect(await runCli(command)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/which private key\? give --key FILE, or set UNSEAL_KEYS/),
    })
  })

  it("says what is in a key directory without a usable key, as a mistake in the configuration", async () => {
    const foreign = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]
    const prepare: [string, () => Promise<unknown>, RegExp][] = [
      ["absent", async () => {}, /UNSEAL_KEYS is .*absent, which does not exist: check the path, or give/],
      ["file", () => writeFile(path("file"), ""), /UNSEAL_KEYS is .*file, which is not a directory: .*--key/],
      [
        "empty",
        () => mkdir(path("empty")),
        /UNSEAL_KEYS is .*empty, which holds no file NAME\.pem with a private key: put the key there, or give --key FILE/,
      ],
      [
        "misnamed",
        async () => {
          await mkdir(path("misnamed"))
          await copyFile(file("key.pem"), path("misnamed/old.key"))
        },
        /misnamed, which holds no file NAME\.pem with a private key; old\.key is not looked into: put the/,
      ],
      [
        "unusable",
        async () => {
          await mkdir(path("unusable"))
          await writeFile(path("unusable/a.pem"), "rubbish")
          await copyFile(file("../openssl-passphrase/key.pem"), path("unusable/b.pem"))
        },
        /none of the 2 key files in .*unusable can be used; the first: a\.pem holds no PEM private key/,
      ],
      [
        "no-fit",
        async () => {
          await mkdir(path("no-fit"))
          await writeFile(path("no-fit/a.pem"), "rubbish")
          await execute("openssl", [...foreign, path("no-fit/b.pem")])
        },
        /the only usable key does not fit, and a key file in .*no-fit can't be used: a\.pem holds no PEM/,
      ],
    ]
    for (const [name, make, words] of prepare) {
      await make()
      for (const command of [["decrypt", path("archive.enc"), path("out.ts")], ["inspect"]]) {
        const given = [...command, "--password-file", file("password.b64")]
        const { code, stderr } = await runCli(given, { env: { UNSEAL_KEYS: path(name) } })
        expect({ name, code, stderr }).toEqual({ name, code: 2, stderr: expect.stringMatching(words) })
      }
    }
    expect(existsSync(path("out.ts"))).toBe(false)
  })

  it("lists the supported schemes of keys", async () => {
    const command = ["inspect", "--password-file", file("password.b64")]
    expect(await runCli(command, { env: { UNSEAL_KEYS: "pkcs11:pin-value=hunter2" } })).toMatchObject({
      code: 2,
      stderr: "unseal: UNSEAL_KEYS has the unknown scheme pkcs11: (known are a path, file:///directory)\n",
    })
  })

  it("refuses standard input for two things at once", async () => {
    for (const option of ["--callback", "--password-file"])
      expect(await runCli(["decrypt", "-", "-", option, "-", ...KEY])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("can't be both the archive and its password"),
      })
  })

  it("accepts a callback and a password in the forms that people have", async () => {
    const callback = await readFile(file("callback.json"), "utf8")
    const password = (await readFile(file("password.b64"), "utf8")).trim()
    const utf16 = Buffer.from(`\uFEFF${callback}`, "utf16le")
    const forms: [string, string, Buffer][] = [
      ["--callback", "bom.json", Buffer.from(`\uFEFF${callback}`)],
      ["--callback", "utf16le.json", utf16],
      ["--callback", "utf16be.json", Buffer.from(utf16).swap16()],
      ["--password-file", "quoted", Buffer.from(`"${password}"\n`)],
      ["--password-file", "utf16.txt", Buffer.from(`\uFEFF${password}\r\n`, "utf16le")],
      ["--password-file", "utf16be.txt", Buffer.from(`\uFEFF${password}\r\n`, "utf16le").swap16()],
      ["--password-file", "bom.txt", Buffer.from(`\uFEFF${password}\r\n`)],
      ["--password-file", "binary", Buffer.from(password, "base64")],
    ]
    for (const [option, name, content] of forms) {
      await writeFile(path(name), content)
      const result = await runCli(["decrypt", path("archive.enc"), "-", option, path(name), ...KEY])
      expect({ name, code: result.code, stderr: result.stderr }).toMatchObject({ name, code: 0 })
      expect(result.stdout.equals(await plaintext()), name).toBe(true)
    }
    const quoted = ["--password", `'${password}'`]
    expect(await runCli(["decrypt", path("archive.enc"), "-", ...quoted, ...KEY])).toMatchObject({ code: 0 })
    const mistaken = ["--password-file", file("callback.json")]
    expect(await runCli(["decrypt", path("archive.enc"), "-", ...mistaken, ...KEY])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("holds JSON: if it is the callback, give --callback"),
    })
  })
})
