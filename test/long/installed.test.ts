/** The packages as npm installs them from their tarballs, under each Node that they promise, and as others' tools see them. */
import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  folderWithVector,
  packInto,
  plaintextByOpenssl,
  quickStartOf,
  type Tarballs,
} from "../harness/packed.ts"

const ROOT = resolve(import.meta.dirname, "../..")
/** The oldest that the packages name, and the newest of each line. */
const NODES = ["22.19.0", "22.23.3", "24.21.0", "26.10.0"]
const LINTERS = ["publint@0.3.25", "@arethetypeswrong/cli@0.18.5"]

const run = promisify(execFile)
let scratch: string
let tarballs: Tarballs
let folder: string
let plaintext: Buffer

/** Installs into `directory`, with the registry that npm is set up for. */
const install = (directory: string, ...packages: string[]) =>
  run("npm", ["install", "--no-fund", "--no-audit", "--loglevel=error", "--no-save", ...packages], {
    cwd: directory,
  })

/** A folder as the README's Install section expects it. */
async function readersFolder(name: string): Promise<string> {
  const directory = join(scratch, name)
  await mkdir(directory)
  for (const [from, to] of [
    ["encrypted/archive.ts.enc", "archive.ts.enc"],
    ["callback.json", "callback.json"],
    ["keys/key.pem", "key.pem"],
  ] as const)
    await copyFile(join(folder, from), join(directory, to))
  await copyFile(tarballs.program, join(directory, basename(tarballs.program)))
  return directory
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "unseal-installed-"))
  tarballs = await packInto(scratch)
  plaintext = await plaintextByOpenssl(join(scratch, "password.bin"))
  folder = await folderWithVector(join(scratch, "user"))
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await install(folder, tarballs.program, tarballs.library)
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

describe.each(NODES)("under Node %s", (version) => {
  let node: string
  beforeAll(async () => {
    const { platform, arch } = process
    const { stdout } = await run("npm", ["pack", "--silent", `node-${platform}-${arch}@${version}`], {
      cwd: scratch,
    })
    node = join(scratch, `node-${version}`)
    await run("tar", ["-xzf", join(scratch, stdout.trim()), "-C", scratch, "package/bin/node"])
    await run("mv", [join(scratch, "package/bin/node"), node])
    expect((await run(node, ["--version"])).stdout).toBe(`v${version}\n`)
  })
  const unseal = (...args: string[]) =>
    run(node, ["node_modules/.bin/unseal", ...args], { cwd: folder, env: { PATH: process.env.PATH } })

  it("unseal decrypts as openssl does, and makes certificates", async () => {
    const out = `archive-${version}.ts`
    await unseal(
      ...["decrypt", "encrypted/archive.ts.enc", out, "--callback", "callback.json"],
      ...["--key", "keys/key.pem", "--digest"],
    )
    expect((await readFile(join(folder, out))).equals(plaintext)).toBe(true)
    const [cert, key] = [`cert-${version}.pem`, `key-${version}.pem`]
    await unseal("certificate", "create", "--generate-passphrase", "--out", cert, "--keyout", key)
    const { stdout } = await run("openssl", ["x509", "-in", join(folder, cert), "-noout", "-text"])
    expect(stdout).toContain("Public-Key: (")
  })

  it("the worker and ingest read their settings", async () => {
    for (const name of ["worker", "ingest"]) {
      const refused = await unseal(name).catch((error) => error)
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no project") })
    }
  })

  it("the library's quick start decrypts", async () => {
    const code = await quickStartOf(join(folder, "node_modules/@unseal/archive/README.md"))
    await writeFile(join(folder, "quick-start.mjs"), code)
    await rm(join(folder, "decrypted"), { recursive: true })
    await run("mkdir", [join(folder, "decrypted")])
    await run(node, ["quick-start.mjs"], { cwd: folder })
    const archive = await readFile(join(folder, "decrypted/archive.ts"))
    expect(archive.equals(plaintext.subarray(0, archive.length))).toBe(true)
    expect(plaintext.length - archive.length).toBeLessThan(16)
  })
})

it("a strict TypeScript program compiles against the library", async () => {
  const code = await quickStartOf(join(folder, "node_modules/@unseal/archive/README.md"))
  await writeFile(join(folder, "consumer.ts"), code)
  await writeFile(
    join(folder, "wrong.ts"),
    `import { openStore } from "@unseal/archive"\nawait openStore(7, {})\n`,
  )
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc")
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2024"]
  const types = ["--types", "node", "--typeRoots", join(ROOT, "node_modules/@types")]
  const compile = (file: string) =>
    run(process.execPath, [tsc, ...options, ...types, file], { cwd: folder }).then(
      () => "",
      (error: { stdout: string }) => error.stdout,
    )
  expect(await compile("consumer.ts")).toBe("")
  expect(await compile("wrong.ts")).toContain("'number' is not assignable")
})

it("publint and attw find nothing wrong", async () => {
  const linters = join(scratch, "linters")
  await run("mkdir", [linters])
  await writeFile(join(linters, "package.json"), JSON.stringify({ private: true }))
  await install(linters, ...LINTERS)
  const lint = (name: string, ...args: string[]) =>
    run(process.execPath, [join(linters, "node_modules/.bin", name), ...args])
  for (const tarball of Object.values(tarballs)) {
    const { stdout } = await lint("publint", "--strict", tarball)
    expect(stdout).toContain("All good!")
  }
  // It fails on problems. CommonJS programs load the library too: Node 22.19 requires ES modules.
  const { stdout } = await lint("attw", tarballs.library, "--profile", "esm-only")
  expect(stdout.match(/node16 \(from ESM\): 🟢 \(ESM\)/g)).toHaveLength(2)
})

describe("as the README installs it", () => {
  const DECRYPT = [
    "decrypt",
    "archive.ts.enc",
    "archive.ts",
    "--callback",
    "callback.json",
    "--key",
    "key.pem",
  ]
  /** A network without any way out: not even the loopback interface is up. */
  const CUT_OFF = ["--net", "--"]
  const env = () => ({ ...process.env, npm_config_cache: join(scratch, "cache") })
  let reader: string
  const isDecrypted = async (directory: string) =>
    (await readFile(join(directory, "archive.ts"))).equals(plaintext)

  beforeAll(async () => {
    reader = await readersFolder("reader")
    const readme = await readFile(join(ROOT, "README.md"), "utf8")
    const [, block] = /^## Install\n.*?^```sh not-run\n(.*?)^```/ms.exec(readme)!
    await run("bash", ["-ec", block!], { cwd: reader, env: env() })
  })

  it("the section's commands decrypt as openssl does, from its tarball in an empty folder", async () => {
    expect(await isDecrypted(reader)).toBe(true)
  })

  it("npx decrypts there without any network", async () => {
    await rm(join(reader, "archive.ts"))
    await run("unshare", [...CUT_OFF, "npx", "--offline", "unseal", ...DECRYPT], { cwd: reader, env: env() })
    expect(await isDecrypted(reader)).toBe(true)
  })

  it("npx decrypts in another empty folder, from the tarball and npm's cache, without any network", async () => {
    const directory = await readersFolder("another")
    const tarball = `./${basename(tarballs.program)}`
    await run(
      "unshare",
      [...CUT_OFF, "npx", "--offline", "--yes", "--package", tarball, "--", "unseal", ...DECRYPT],
      { cwd: directory, env: env() },
    )
    expect(await isDecrypted(directory)).toBe(true)
    expect((await readdir(directory)).toSorted()).toEqual(
      [
        ...(await readdir(reader)).filter((name) => !/^(node_modules|package(-lock)?\.json)$/.test(name)),
      ].toSorted(),
    )
  })
})
