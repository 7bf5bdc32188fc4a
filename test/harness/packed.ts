/** The packages as users install them: tarballs of `npm run pack`, in folders outside of the repository. */
import { execFile } from "node:child_process"
import { cp, mkdir, readFile, symlink } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { promisify } from "node:util"

const root = resolve(import.meta.dirname, "../..")
const run = promisify(execFile)
const VECTOR = join(root, "test/vectors/openssl-pkcs7")

export interface Tarballs {
  /** Of `@unseal/archive`. */
  readonly library: string
  /** Of `unseal`. */
  readonly program: string
}

/** Packs what the sources are now, into `directory`. */
export async function packInto(directory: string): Promise<Tarballs> {
  const { stdout } = await run(process.execPath, [join(root, "scripts/pack/pack.ts"), directory])
  const [library, program] = stdout.trim().split("\n")
  return { library: library!, program: program! }
}

/** The names of a tarball's files, without its leading folder. */
export async function filesIn(tarball: string): Promise<string[]> {
  const { stdout } = await run("tar", ["tzf", tarball])
  return stdout
    .trim()
    .split("\n")
    .map((name) => name.replace(/^package\//, ""))
}

/**
 * Installs `tarball` into `folder` as npm would, without the registry: its dependencies, and `more`, are links to what this
 * repository has installed. Returns its manifest.
 */
export async function installLinked(folder: string, tarball: string, more: readonly string[] = []) {
  const manifest = JSON.parse((await run("tar", ["xzfO", tarball, "package/package.json"])).stdout) as {
    readonly name: string
    readonly bin?: Readonly<Record<string, string>>
    readonly dependencies: Readonly<Record<string, string>>
  }
  const modules = join(folder, "node_modules")
  const home = join(modules, manifest.name)
  await mkdir(home, { recursive: true })
  await run("tar", ["xzf", tarball, "-C", home, "--strip-components", "1"])
  const link = async (path: string, target: string) => {
    await mkdir(dirname(path), { recursive: true })
    await symlink(target, path)
  }
  for (const name of [...Object.keys(manifest.dependencies), ...more])
    await link(join(modules, name), join(root, "node_modules", name))
  for (const [name, path] of Object.entries(manifest.bin ?? {}))
    await link(join(modules, ".bin", name), join(home, path))
  return manifest
}

/** The first JavaScript block of a README, as a program. */
export async function quickStartOf(readme: string): Promise<string> {
  const [, code] = /```js\n([\s\S]*?)```/.exec(await readFile(readme, "utf8")) ?? []
  if (code === undefined) throw new Error(`${readme} has no block of JavaScript`)
  return code
}

/** Makes `folder` with the vector's archive, callback and key, as a user has them. */
export async function folderWithVector(folder: string): Promise<string> {
  await mkdir(join(folder, "encrypted"), { recursive: true })
  await mkdir(join(folder, "decrypted"))
  await mkdir(join(folder, "keys"))
  await cp(join(VECTOR, "archive.enc"), join(folder, "encrypted/archive.ts.enc"))
  await cp(join(VECTOR, "callback.json"), join(folder, "callback.json"))
  await cp(join(VECTOR, "key.pem"), join(folder, "keys/key.pem"))
  return folder
}

/** What the guide's openssl commands make of the vector. They need a file for the unwrapped password. */
export async function plaintextByOpenssl(passwordFile: string): Promise<Buffer> {
  const script = `openssl enc -base64 -d -A -in "$1/password.b64" | openssl pkeyutl -decrypt -pkeyopt rsa_padding_mode:oaep -inkey "$1/key.pem" > "$2"
    openssl enc -d -aes-256-cbc -nopad -in "$1/archive.enc" -K "$(xxd -s 3 -l 32 -c 32 -p "$2")" -iv "$(xxd -s 35 -l 16 -c 16 -p "$2")"`
  const { stdout } = await run("bash", ["-c", script, "-", VECTOR, passwordFile], { encoding: "buffer" })
  return stdout
}
