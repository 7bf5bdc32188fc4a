/** The packages as users install them: tarballs of `npm run pack`, in folders outside of the repository. */
import { execFile } from "node:child_process"
import { mkdir, readFile, symlink } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { promisify } from "node:util"

const root = resolve(import.meta.dirname, "../..")
const run = promisify(execFile)

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
