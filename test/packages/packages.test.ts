/** The packages, installed from their tarballs into empty folders, without the network. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  filesIn,
  folderWithVector,
  installLinked,
  plaintextByOpenssl as openssl,
  packInto,
  quickStartOf,
  type Tarballs,
} from "../harness/packed.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const run = promisify(execFile)

let scratch: string
let tarballs: Tarballs
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "unseal-packages-"))
  tarballs = await packInto(scratch)
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

const emptyFolder = (name: string) => folderWithVector(join(scratch, name))
const plaintextByOpenssl = () => openssl(join(scratch, "password.bin"))

describe("unseal", () => {
  let folder: string
  let bin: string
  let dependencies: Readonly<Record<string, string>>
  beforeAll(async () => {
    folder = await emptyFolder("program")
    ;({ dependencies } = await installLinked(folder, tarballs.program))
    bin = join(folder, "node_modules/.bin/unseal")
  })

  const unseal = (...args: string[]) =>
    run(process.execPath, [bin, ...args], { cwd: folder, env: { PATH: process.env.PATH } })

  it("decrypts an archive as openssl does", async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"))
    expect((await unseal("--version")).stdout).toBe(`${version}\n`)
    const args = ["--callback", "callback.json", "--key", "keys/key.pem", "--digest"]
    await unseal("decrypt", "encrypted/archive.ts.enc", "archive.ts", ...args)
    expect((await readFile(join(folder, "archive.ts"))).equals(await plaintextByOpenssl())).toBe(true)
  })

  it("makes a key and its certificate", async () => {
    await unseal(
      "certificate",
      "create",
      "--generate-passphrase",
      "--out",
      "cert.pem",
      "--keyout",
      "made.pem",
    )
    const { stdout } = await run("openssl", ["x509", "-in", join(folder, "cert.pem"), "-noout", "-subject"])
    expect(stdout).toContain("subject")
  })

  it("has the processes inside", async () => {
    for (const name of ["ingest", "worker", "console", "simulator"]) {
      const { stdout } = await unseal(name, "--help")
      expect(stdout).toContain(`Usage: unseal ${name}\n`)
    }
    const refused = await unseal("worker").catch((error) => error)
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no project") })
    // The doctor asks the processes' own readers, which its entry hands it.
    const doctor = await unseal("doctor", "--timeout", "1ms").catch((error) => error)
    expect(doctor).toMatchObject({
      code: 2,
      stdout: expect.stringMatching(
        /^failed +settings of worker .*there is no project[\s\S]*^failed +settings of ingest /m,
      ),
    })
  })

  it("runs a process that reads its own files, until a signal ends it", async () => {
    const child = spawn(process.execPath, [bin, "simulator"], {
      cwd: folder,
      env: {
        ...{ PATH: process.env.PATH, SIMULATOR_PORT: "0", SIMULATOR_STORE: `file://${folder}/decrypted` },
        ...{ SIMULATOR_REST_PORT: "0", SIMULATOR_API_SECRET: "an-api-secret" },
      },
      stdio: ["ignore", "pipe", "inherit"],
    })
    const exited = once(child, "exit")
    const messages: unknown[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      messages.push(JSON.parse(line).msg)
      if (messages.at(-1) === "listening") child.kill("SIGTERM")
    }
    expect(await exited).toEqual([0, null])
    expect(messages).toContain("stopped")
  })

  it("depends on the exact versions that the tests ran with, all of which somebody explained", async () => {
    const { packages } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"))
    const architecture = await readFile(join(ROOT, "ARCHITECTURE.md"), "utf8")
    for (const [name, version] of Object.entries(dependencies)) {
      expect(version).toBe(packages[`node_modules/${name}`].version)
      // A row may name several.
      expect(architecture).toMatch(new RegExp(`^\\|.*\`${name}\`.*\\|.*\\|$`, "m"))
    }
    expect(Object.keys(dependencies).filter((name) => name.startsWith("@unseal/"))).toEqual([])
    // One is read, not imported. Both must be of the same release.
    expect(dependencies["@bull-board/ui"]).toBe(dependencies["@bull-board/api"])
  })
})

describe("@unseal/archive", () => {
  let folder: string
  beforeAll(async () => {
    folder = await emptyFolder("library")
    await installLinked(folder, tarballs.library)
  })

  /** Runs `code` as a module in the folder. */
  async function runModule(name: string, code: string) {
    await writeFile(join(folder, name), code)
    return run(process.execPath, [name], { cwd: folder, env: { PATH: process.env.PATH } })
  }

  it("decrypts a file with the README's quick start", async () => {
    const code = await quickStartOf(join(folder, "node_modules/@unseal/archive/README.md"))
    const { stdout } = await runModule("quick-start.mjs", code)
    const archive = await readFile(join(folder, "decrypted/archive.ts"))
    // Without the padding, which the quick start trims.
    expect(archive.equals((await plaintextByOpenssl()).subarray(0, -4))).toBe(true)
    const { sha256, unsealVersion } = JSON.parse(
      await readFile(join(folder, "decrypted/archive.json"), "utf8"),
    )
    expect(stdout).toBe(`${archive.length} bytes, SHA-256 ${sha256.plaintext}\n`)
    expect(unsealVersion).toBe(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).version)
  })

  it("needs no SDK until a store needs one, and then names the packages to install", async () => {
    const code = `import { openStore } from "@unseal/archive"
      for (const url of ["s3://bucket?region=eu-west-1", "azure://container?account=one"])
        await openStore(url, { env: {} }).catch(({ name, message }) => console.log(name + ": " + message))`
    const { stdout } = await runModule("stores.mjs", code)
    expect(stdout).toMatch(
      /^StoreUrlError: s3:\/\/ needs the package @\S+, which is not installed: npm install @aws-sdk\/client-s3 @aws-sdk\/credential-providers @smithy\/signature-v4\n/,
    )
    expect(stdout).toMatch(
      /\nStoreUrlError: azure:\/\/ needs the package @azure\/storage-blob, which is not installed: npm install @azure\/storage-blob\n$/,
    )
    const readme = await readFile(join(folder, "node_modules/@unseal/archive/README.md"), "utf8")
    expect(readme).toContain("@aws-sdk/client-s3 @aws-sdk/credential-providers @smithy/signature-v4")
  })

  it("opens the stores whose packages are installed", async () => {
    const other = await emptyFolder("library-with-sdks")
    const peers = ["@aws-sdk/client-s3", "@aws-sdk/credential-providers", "@smithy/signature-v4"]
    await installLinked(other, tarballs.library, [...peers, "@azure/storage-blob"])
    const code = `import { openStore } from "@unseal/archive"
      const env = { AZURE_STORAGE_KEY: "a2V5" }
      for (const url of ["s3://bucket/a?region=eu-west-1", "azure://container/b?account=one"])
        console.log((await openStore(url, { env })).location)`
    await writeFile(join(other, "stores.mjs"), code)
    const { stdout } = await run(process.execPath, ["stores.mjs"], { cwd: other })
    expect(stdout).toBe("s3://bucket/a\nazure://container/b\n")
  })

  it("shares its errors with programs that load nothing else", async () => {
    const code = `import { isUnsealError, UnsealError } from "@unseal/archive/errors"
      import * as archive from "@unseal/archive"
      console.log(isUnsealError(new archive.UnsealError("ERR_STORE_FULL", "full")), UnsealError === archive.UnsealError)
      await import("@unseal/archive/format/cbc").catch(({ code }) => console.log(code))`
    const { stdout } = await runModule("errors.mjs", code)
    expect(stdout).toBe("true true\nERR_PACKAGE_PATH_NOT_EXPORTED\n")
  })
})

describe("the tarballs", () => {
  it("hold code with maps, and no tests, fixtures or sources", async () => {
    const files = { library: await filesIn(tarballs.library), program: await filesIn(tarballs.program) }
    const strange = (allowed: RegExp) => (name: string) => !allowed.test(name)
    const text = /^(LICENSE|README\.md|package\.json)$/
    expect(files.library.filter(strange(/^dist\/.*\.(js|js\.map|d\.ts|mjs)$/)).filter(strange(text))).toEqual(
      [],
    )
    const others = files.program.filter(strange(/^dist\/[^/]+\.(mjs|mjs\.map)$/)).filter(strange(text))
    expect(others.toSorted()).toEqual([
      ...["assets/console.css", "assets/console.js", "assets/icon.svg"],
      "media/composed-640x480-20s.mpegts",
    ])
    for (const names of Object.values(files)) {
      expect(names.filter((name) => /\.test\.|vectors|fixture/.test(name))).toEqual([])
      expect(names.filter((name) => text.test(name))).toHaveLength(3)
    }
    // The thread's code is as it was written, and a file that only passes on what others export has nothing to map.
    const unmapped = files.library.filter(
      (name) => /\.m?js$/.test(name) && !files.library.includes(`${name}.map`),
    )
    expect(unmapped).toEqual(["dist/ordered/hash-thread.mjs"])
    expect(files.program).toContain("dist/unseal.mjs.map")
  })

  it("name their sources by the paths in the repository, so that they are the same bytes wherever they are made", async () => {
    for (const tarball of Object.values(tarballs)) {
      const { stdout } = await run("tar", ["xzOf", tarball, "--wildcards", "*.map"], { maxBuffer: 2 ** 28 })
      const sources = [...stdout.matchAll(/"sources":(\[.*?\])/g)].flatMap(([, list]) => JSON.parse(list!))
      expect(sources.length).toBeGreaterThan(50)
      expect(sources.filter((name) => !/^(apps|packages|scripts)\//.test(name))).toEqual([])
      expect(stdout).not.toContain(ROOT)
    }
  })
})
