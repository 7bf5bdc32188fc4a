/** For tests of `unseal` on one archive that openssl made: a fresh folder for each, which holds it, and a shell. */
import { execFile } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterEach, beforeEach } from "vitest"
import { runCli } from "../process.ts"
import { recordTo } from "./recorded-file.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
export const MAIN = join(import.meta.dirname, "../../../apps/cli/bin/unseal.mjs")

/** A file of the vector. */
export const file = (name: string): string => join(VECTOR, name)
/** The vector's key, as options of a command. */
export const KEY = ["--key", file("key.pem")]
/** The vector's password and key, as options of a command. */
export const PASSWORD = ["--password-file", file("password.b64"), ...KEY]

export const execute = promisify(execFile)

let directory: string
export const folder = (): string => directory
/** A file in the folder. */
export const path = (name: string): string => join(directory, name)

/** Gives each test of the file a folder with `archive.enc` and an empty `temporary`. */
export function useVectorFolder(): void {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-edges-"))
    await mkdir(path("temporary"))
    await copyFile(file("archive.enc"), path("archive.enc"))
  })
  afterEach(() => rm(directory, { recursive: true }))
}

let decrypted: Promise<Buffer> | undefined
/** The plaintext of `archive.enc`. */
export function plaintext(): Promise<Buffer> {
  decrypted ??= runCli(["decrypt", file("archive.enc"), "-", ...PASSWORD]).then(({ stdout }) => stdout)
  return decrypted
}

/** Runs a line as a user types it; `unseal` stands for the command. */
export async function shell(line: string, env: Record<string, string> = {}) {
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

/** `options` for `shell`. */
export const quoted = (options: readonly string[]): string => options.map((option) => `'${option}'`).join(" ")

/** Writes an archive larger than a pipe buffer and a part, encrypted for the vector's key. Resolves to its encrypted password. */
export async function bigArchive(to: string): Promise<string> {
  const { publicKey } = new X509Certificate(await readFile(file("cert.pem")))
  return recordTo(to, 188 * 4 * 80_000, publicKey)
}
