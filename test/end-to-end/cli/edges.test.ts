/** `unseal decrypt` with an awkward shell, disk or user. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { runCli } from "../../harness/process.ts"
import { ensureProgram } from "../../harness/programs.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
const MAIN = join(import.meta.dirname, "../../../apps/cli/bin/unseal.mjs")
const file = (name: string) => join(VECTOR, name)
const KEY = ["--key", file("key.pem")]
const PASSWORD = ["--password-file", file("password.b64"), ...KEY]
const execute = promisify(execFile)

let directory: string
let plaintext: Buffer
const path = (name: string) => join(directory, name)
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-edges-"))
  await mkdir(path("temporary"))
  await copyFile(file("archive.enc"), path("archive.enc"))
  const { stdout } = await runCli(["decrypt", path("archive.enc"), "-", ...PASSWORD])
  plaintext = stdout
})
afterEach(() => rm(directory, { recursive: true }))

/** Runs a line as a user types it; `unseal` stands for the command. */
async function shell(line: string, env: Record<string, string> = {}) {
  const unseal = `'${process.execPath}' '${MAIN}'`
  const script = line.replaceAll("unseal ", `${unseal} `)
  return execute("bash", ["--norc", "-c", script], {
    env: { PATH: process.env.PATH, TMPDIR: path("temporary"), ...env },
    encoding: "buffer",
    maxBuffer: 2 ** 26,
  }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr: stderr.toString() }),
    (error) => ({ code: error.code as number, stdout: error.stdout as Buffer, stderr: `${error.stderr}` }),
  )
}
const args = PASSWORD.map((arg) => `'${arg}'`).join(" ")

describe("unseal decrypt", () => {
  it("does not overwrite the ciphertext with the plaintext, however the path is spelt", async () => {
    await symlink(path("archive.enc"), path("link"))
    await link(path("archive.enc"), path("hard"))
    const before = await readFile(path("archive.enc"))
    const source = path("archive.enc")
    for (const name of [
      source,
      `${directory}/./temporary/../archive.enc`,
      path("link"),
      path("hard"),
      `file://${source}`,
    ]) {
      const refused = await runCli(["decrypt", source, name, "--overwrite", ...PASSWORD])
      expect(refused, name).toMatchObject({ code: 2, stderr: expect.stringContaining("are the same object") })
    }
    const redirected = await shell(`unseal decrypt - '${source}' --overwrite ${args} < '${source}'`)
    expect(redirected).toMatchObject({ code: 2, stderr: expect.stringContaining("are the same object") })
    expect((await readFile(source)).equals(before)).toBe(true)
  })

  it("leaves nothing in the temporary folder when the reader of its output stops early", async () => {
    const big = path("big.enc")
    // Larger than pipe buffers, so that the command is still writing.
    const { encryptedPassword } = await bigArchive(big)
    const line = `cat '${big}' | unseal decrypt - - --password '${encryptedPassword}' ${KEY.map((arg) => `'${arg}'`).join(" ")} | head -c 10 | wc -c`
    const { stdout, stderr } = await shell(line)
    expect({ stdout: stdout.toString().trim(), stderr }).toEqual({ stdout: "10", stderr: "" })
    expect(await readdir(path("temporary"))).toEqual([])
  })

  it("fails if standard output is closed, but not if it goes to /dev/null", async () => {
    const line = `unseal decrypt '${path("archive.enc")}' - ${args}`
    expect(await shell(`${line} >&-`)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^unseal: standard output is closed, or leads to \/dev\/null: name a file/,
      ),
    })
    expect(await shell(`${line} > /dev/null`)).toMatchObject({ code: 0 })
  })

  it.runIf(process.platform === "linux")("shows on a terminal how much of a pipe has arrived", async () => {
    await ensureProgram("script", {
      packages: { apt: "bsdutils", dnf: "util-linux-script", apk: "util-linux-misc" },
    })
    const line = `cat '${path("archive.enc")}' | unseal decrypt - '${path("out.ts")}' ${args}`
    await writeFile(path("line.sh"), line.replaceAll("unseal ", `'${process.execPath}' '${MAIN}' `))
    // `script` runs it in a terminal of its own, and passes the output on.
    const { stdout } = await execute("script", ["-qec", `bash ${path("line.sh")}`, "/dev/null"])
    const [, first = "", ...rest] = stdout.split("\r\x1b[K")
    expect(first).toMatch(/^reading before anything is decrypted: \d+(\.\d)? kB$/)
    expect(rest.at(-1)).toMatch(/^128 kB in .* to .*out\.ts/)
  })

  it("says after an interruption that standard output may have a part", async () => {
    const big = path("big.enc")
    const { encryptedPassword } = await bigArchive(big)
    const child = spawn(process.execPath, [
      MAIN,
      "decrypt",
      big,
      "-",
      "--password",
      encryptedPassword,
      ...KEY,
    ])
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    // The output is not read any further, so more remains to be written.
    await once(child.stdout, "readable")
    child.kill("SIGINT")
    child.stdout.resume()
    const [code] = await once(child, "close")
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: "unseal: interrupted by SIGINT; standard output may have a part of the plaintext\n",
    })
  })

  it("says where there is no space, and how far it came", async () => {
    const full = await shell(`unseal decrypt '${path("archive.enc")}' - ${args} > /dev/full`)
    expect(full.code).toBe(3)
    expect(full.stderr).toMatch(
      /ERR_STORE_FULL: standard output \(\/dev\/full\) took 0 of \d+ bytes: no space is left/,
    )
    expect(full.stderr).not.toContain("    at ")
  })

  it.runIf(process.getuid?.() === 0)("names a full temporary folder", async () => {
    await execute("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", path("temporary")])
    try {
      const full = await shell(`cat '${path("archive.enc")}' | unseal decrypt - '${path("out.ts")}' ${args}`)
      expect(full.code).toBe(3)
      expect(full.stderr).toMatch(/standard input does not fit in the temporary folder .*temporary, .*TMPDIR/)
      expect(full.stderr).not.toContain("    at ")
    } finally {
      await execute("umount", [path("temporary")])
    }
    expect(existsSync(path("out.ts"))).toBe(false)
  })

  it("removes what a killed run left of its destination, but nothing that is still being written", async () => {
    const owner = spawn("sleep", ["60"], { stdio: "ignore" })
    const gone = spawn("true")
    await new Promise((resolve) => gone.once("exit", resolve))
    try {
      const left = async (token: string, pid: number, host: string) => {
        const name = path(`.out.ts.unseal-${token}`)
        await writeFile(name, "plaintext")
        await writeFile(`${name}.parts`, "unseal-parts 1 9 16\n")
        const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
        const startedAt = text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""
        await writeFile(`${name}.owner`, JSON.stringify({ host, pid, startedAt }))
      }
      const { stdout } = await execute("hostname")
      const host = stdout.trim()
      await left("0000000000000001", gone.pid!, host)
      await left("0000000000000002", owner.pid!, host)
      await left("0000000000000003", gone.pid!, "another-host")
      await writeFile(path(".out.ts.unseal-0000000000000004"), "a worker's")
      const { code, stderr } = await runCli(["decrypt", path("archive.enc"), path("out.ts"), ...PASSWORD])
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(/removed .*\.out\.ts\.unseal-0000000000000001 \(9 B of plaintext\)/),
      })
      const names = await readdir(directory)
      const kept = ["2", "3"].flatMap((end) =>
        ["", ".owner", ".parts"].map((kind) => `.out.ts.unseal-000000000000000${end}${kind}`),
      )
      expect(names.filter((name) => name.startsWith(".")).sort()).toEqual([
        ...kept,
        ".out.ts.unseal-0000000000000004",
      ])
    } finally {
      owner.kill()
    }
  })

  it("leaves a note with its output when it is killed, which the next run finds", async () => {
    const big = path("big.enc")
    const { encryptedPassword } = await bigArchive(big)
    const child = spawn(
      process.execPath,
      [MAIN, "decrypt", big, path("out.ts"), "--password", encryptedPassword, ...KEY],
      { stdio: "ignore" },
    )
    await expect
      .poll(async () => (await readdir(directory)).some((name) => name.endsWith(".owner")), {
        timeout: 30_000,
        interval: 1,
      })
      .toBe(true)
    child.kill("SIGKILL")
    await new Promise((resolve) => child.once("exit", resolve))
    const again = await runCli(["decrypt", path("archive.enc"), path("out.ts"), "--overwrite", ...PASSWORD])
    expect(again).toMatchObject({ code: 0 })
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([])
  })

  it("reports a missing source, and a missing folder, as mistakes in the command", async () => {
    const cases = [
      [path("misspelt.enc"), path("out.ts"), "misspelt.enc does not exist: check the name"],
      [path("no/archive.enc"), path("out.ts"), `nor does its folder ${path("no")}`],
      [`file://${path("no/archive.enc")}`, path("out.ts"), `nor does its folder ${path("no")}`],
      [directory, path("out.ts"), "is a directory: name the archive in it"],
      [path("archive.enc"), path("no/out.ts"), `the folder ${path("no")} does not exist: make it (mkdir -p)`],
    ]
    for (const [source, destination, words] of cases) {
      const { code, stderr } = await runCli(["decrypt", source!, destination!, ...PASSWORD])
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(words!) })
    }
  })

  it("names a file that is missing, or not a file, with what to do, for every option", async () => {
    const callback = ["--callback", file("callback.json")]
    const cases: [string[], RegExp][] = [
      [["--callback", path("no.json"), ...KEY], /no\.json does not exist: check the path\n$/],
      [["--password-file", path("no.txt"), ...KEY], /no\.txt does not exist: check the path\n$/],
      [[...callback, "--key", path("no.pem")], /no\.pem does not exist: check the path\n$/],
      [
        [...callback, ...KEY, "--passphrase-file", path("no.txt")],
        /no\.txt does not exist: check the path\n$/,
      ],
      [[...callback, "--key", `${file("key.pem")}/x`], /leads through a file: check the path\n$/],
      [[...callback, "--key", directory], /is a directory: name the key in it, or set UNSEAL_KEYS to it/],
      [["--callback", directory, ...KEY], /can't be read: it is a directory/],
    ]
    for (const [args, words] of cases)
      expect(await runCli(["inspect", ...args])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(words),
      })
    const none = await runCli(["inspect", "--callback", path("archive.enc"), ...KEY])
    expect(none.stderr).toMatch(/archive\.enc is not JSON: --callback takes .*, --password-file the password/)
    const swapped = ["certificate", "check", file("key.pem"), "--key", file("cert.pem")]
    expect(await runCli(swapped)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^unseal: \S+key\.pem holds no PEM certificate, only a private key: give/,
      ),
    })
  })

  it("gives advice for a terminal, not for workers", async () => {
    const openssl = (...args: string[]) => execute("openssl", args)
    const out = path("other.pem")
    await openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", out)
    const foreign = await runCli([
      ...["decrypt", path("archive.enc"), path("out.ts"), "--key", out],
      ...["--password-file", file("password.b64")],
    ])
    expect(foreign).toMatchObject({ code: 1, stderr: expect.stringContaining("--key FILE, several if need") })
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

  it("says that a source in MPEG-TS needs no decryption", async () => {
    for (const size of [188 * 16, 188 * 16 + 4]) {
      await writeFile(path("plain.ts"), plaintext.subarray(0, size))
      const { code, stderr } = await runCli(["decrypt", path("plain.ts"), path("out.ts"), ...PASSWORD])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          /plain\.ts is not encrypted: it is MPEG-TS already\nunseal: copy it to the destination as it is;/,
        ),
      })
    }
    expect(existsSync(path("out.ts"))).toBe(false)
  })

  it("names a source or destination that is a dangling link, or a directory", async () => {
    await symlink(path("absent.ts"), path("dangling.ts"))
    const source = await runCli(["decrypt", path("dangling.ts"), path("out.ts"), ...PASSWORD])
    expect(source).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/dangling\.ts is a symbolic link to .*absent\.ts, which does not exist/),
    })
    const refused = await runCli(["decrypt", path("archive.enc"), path("dangling.ts"), ...PASSWORD])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/dangling\.ts is a symbolic link to .*absent\.ts, which does not exist/),
    })
    const folder = await runCli(["decrypt", path("archive.enc"), path("temporary"), ...PASSWORD])
    expect(folder).toMatchObject({ code: 2, stderr: expect.stringContaining("is a directory") })
  })

  it("reads a process substitution, and writes to one and to /dev/null", async () => {
    const line = `unseal decrypt <(cat '${path("archive.enc")}') >(cat > '${path("out.ts")}') --password-file <(cat '${file("password.b64")}') --key <(cat '${file("key.pem")}'); wait; sleep 0.2`
    expect(await shell(line)).toMatchObject({ code: 0 })
    await expect.poll(async () => (await readFile(path("out.ts"))).equals(plaintext)).toBe(true)
    expect(await runCli(["decrypt", path("archive.enc"), "/dev/null", ...PASSWORD])).toMatchObject({
      code: 0,
    })
  })

  it("takes its keys from UNSEAL_KEYS, and asks for them if it is not set", async () => {
    await mkdir(path("keys"))
    await copyFile(file("key.pem"), path("keys/key.pem"))
    const command = ["decrypt", path("archive.enc"), "-", "--password-file", file("password.b64")]
    const found = await runCli(command, { env: { UNSEAL_KEYS: path("keys") } })
    expect(found).toMatchObject({ code: 0 })
    expect(found.stdout.equals(plaintext)).toBe(true)
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
          await copyFile(join(VECTOR, "../openssl-passphrase/key.pem"), path("unusable/b.pem"))
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
      expect(result.stdout.equals(plaintext), name).toBe(true)
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

/** Larger than a pipe buffer and a part, encrypted for the vector's key. */
async function bigArchive(to: string): Promise<{ encryptedPassword: string }> {
  const { X509Certificate } = await import("node:crypto")
  const { createWriteStream } = await import("node:fs")
  const { pipeline } = await import("node:stream/promises")
  const { makeRecording } = await import("@unseal/simulator/recording/recording")
  const { publicKey } = new X509Certificate(await readFile(file("cert.pem")))
  const sample = await readFile(join(VECTOR, "../audio-only-12s.mpegts"))
  const recording = makeRecording({ sample, publicKey, size: 188 * 4 * 80_000, exact: true, tail: "none" })
  await pipeline(recording.ciphertext, createWriteStream(to))
  return recording
}
