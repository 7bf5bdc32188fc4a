/** How `unseal decrypt` fails: for each cause its code, its words and its exit status. */
import { X509Certificate } from "node:crypto"
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { recordTo } from "../../../harness/cli/recorded-file.ts"
import { runCli } from "../../../harness/process.ts"

const vectors = join(import.meta.dirname, "../../../vectors")
const KEY = join(vectors, "openssl-pkcs7/key.pem")

let directory: string
const path = (name: string) => join(directory, name)

describe("unseal decrypt fails with its own code, message and exit status, and leaves nothing behind:", () => {
  let good: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-cli-"))
    const { publicKey } = new X509Certificate(await readFile(join(vectors, "openssl-pkcs7/cert.pem")))
    good = await recordTo(path("good.enc"), 752 * 20, publicKey)
    await writeFile(path("short.enc"), (await readFile(path("good.enc"))).subarray(0, -5))
    await writeFile(path("plaintext.enc"), Buffer.alloc(1600, 1))
    await copyFile(join(vectors, "openssl-passphrase/key.pem"), path("protected.pem"))
    await writeFile(path("wrong.passphrase"), "wrong")
    await writeFile(path("rubbish.json"), "{ not json, password: secret-text }")
    await writeFile(path("malformed.json"), JSON.stringify({ id: "../../etc/passwd", status: 7 }))
  })
  afterAll(() => rm(directory, { recursive: true }))
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
      /ERR_KEY_INVALID: .*protected by a passphrase, but none was given/,
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
      "a callback that is not JSON",
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
    const key = rest.includes("--key") ? [] : ["--key", KEY]
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
