/** The C programs of the bench, compiled on this machine. */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { ensureProgram } from "../harness/programs.ts"

const run = promisify(execFile)
const sources = join(import.meta.dirname, "native")

/** Paths of the programs. native/NAME.c says what each one does. */
export interface Native {
  readonly endpoint: string
  readonly floor: string
  readonly measure: string
  readonly load: string
}

const LIBRARIES: Readonly<Record<keyof Native, readonly string[]>> = {
  endpoint: ["-lssl", "-lcrypto", "-lpthread"],
  floor: ["-lcrypto"],
  measure: [],
  load: [],
}

/** Compiles them into `directory`, installing the compiler and the headers of OpenSSL first if they are missing. */
export async function buildNative(directory: string): Promise<Native> {
  const compiler = await ensureProgram(["cc", "gcc"], {
    packages: { apt: "build-essential", dnf: "gcc", apk: "build-base", brew: "gcc" },
  })
  await ensureOpensslHeaders(compiler)
  const paths = Object.entries(LIBRARIES).map(async ([name, libraries]) => {
    const path = join(directory, name)
    await run(compiler, ["-O2", "-std=gnu11", "-o", path, join(sources, `${name}.c`), ...libraries])
    return [name, path]
  })
  return Object.fromEntries(await Promise.all(paths)) as Native
}

async function ensureOpensslHeaders(compiler: string): Promise<void> {
  const present = () =>
    run("sh", ["-c", `echo '#include <openssl/ssl.h>' | ${compiler} -E - >/dev/null 2>&1`]).then(
      () => true,
      () => false,
    )
  if (await present()) return
  if (existsSync("/usr/bin/apt-get"))
    await run("apt-get", ["install", "-y", "--no-install-recommends", "libssl-dev"], { timeout: 300_000 })
  if (!(await present()))
    throw new Error(
      "the headers of OpenSSL are needed: install libssl-dev (Debian) or openssl-devel (Fedora)",
    )
}
