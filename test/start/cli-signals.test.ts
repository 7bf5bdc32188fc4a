import { spawn } from "node:child_process"
import { constants, generateKeyPairSync, publicEncrypt, randomBytes } from "node:crypto"
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { NODES } from "./nodes.ts"

const SHIM = resolve(import.meta.dirname, "../../apps/cli/bin/unseal.mjs")

let directory: string
let password: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-signals-"))
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
  writeFileSync(join(directory, "key.pem"), privateKey.export({ type: "pkcs8", format: "pem" }))
  const plain = Buffer.concat([Buffer.from([1, 1, 1]), randomBytes(48)])
  const padding = { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" }
  password = publicEncrypt(padding, plain).toString("base64")
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("the command line", () => {
  it.each(NODES)("treats signals that arrive together as one, and leaves nothing (%s)", async (node) => {
    const output = join(directory, "archive.ts")
    const args = ["decrypt", "-", output, "--password", password, "--key", join(directory, "key.pem")]
    const child = spawn(node, [SHIM, ...args], {
      cwd: directory,
      env: { ...process.env, TMPDIR: directory },
      stdio: ["pipe", "ignore", "pipe"],
      detached: true,
    })
    let complaints = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaints += text
    })
    const before = ["key.pem"]
    const exited = once(child, "exit")
    // More than a pipe holds: who has read it listens for signals by then.
    await new Promise<void>((resolve, reject) => {
      child.stdin.write(randomBytes(1024 * 1024), (error) => (error ? reject(error) : resolve()))
    })
    // As a terminal does: to all of the group. The entry of an old Node passes it on once more.
    process.kill(-child.pid!, "SIGINT")
    const [code, signal] = await exited
    expect({ code, signal, complaints }).toMatchObject({ code: 3, signal: null })
    expect(complaints).toContain("interrupted by SIGINT; nothing was left behind")
    expect(existsSync(output)).toBe(false)
    expect(readdirSync(directory)).toEqual(before)
  })
})
