/** For tests of `unseal certificate`: a fresh folder for each, and openssl in it. */
import { execFileSync } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach } from "vitest"
import { runCli } from "../process.ts"

let directory: string
export const folder = (): string => directory
/** A file in the folder. */
export const path = (name: string): string => join(directory, name)
export const text = (name: string): Promise<string> => readFile(path(name), "utf8")
export const openssl = (...args: string[]): string =>
  execFileSync("openssl", args, { cwd: directory, stdio: "pipe" }).toString()

/** Gives each test of the file an empty folder. */
export function useCertificateFolder(): void {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-certificate-"))
  })
  afterEach(() => rm(directory, { recursive: true }))
}

export const create = (...args: string[]) =>
  runCli(["certificate", "create", "--out", path("cert.pem"), "--keyout", path("key.pem"), ...args])

export async function check(...args: string[]) {
  const { code, stdout, stderr } = await runCli(["certificate", "check", ...args, "--json"])
  const said = stdout.length > 0 ? JSON.parse(stdout.toString()) : {}
  return { code, stderr, said }
}

const OAEP = ["-pkeyopt", "rsa_padding_mode:oaep"]

/** Checks the pair: openssl encrypts and unwraps a password with it. */
export function opensslAgrees(...passin: string[]): void {
  openssl("pkeyutl", "-encrypt", "-certin", "-inkey", "cert.pem", "-in", "plain", "-out", "wrapped", ...OAEP)
  openssl("pkeyutl", "-decrypt", "-inkey", "key.pem", "-in", "wrapped", "-out", "back", ...OAEP, ...passin)
}
