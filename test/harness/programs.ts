import { execFile } from "node:child_process"
import { accessSync, constants } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"

const run = promisify(execFile)

/** The package that contains a program, by package system. */
export interface ProgramPackages {
  readonly apt?: string
  readonly dnf?: string
  readonly apk?: string
  readonly brew?: string
}

/** The path of the first of `names` that is on PATH, or `null`. A name may be a path. */
export function findProgram(...names: string[]): string | null {
  for (const name of names)
    for (const directory of isAbsolute(name) ? [""] : (process.env.PATH ?? "").split(delimiter)) {
      const path = join(directory, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {}
    }
  return null
}

/**
 * The path of a program. If it is not on PATH, the machine's package system installs it. Several names are tried in order
 * (`["redis-server", "valkey-server"]`). Throws, listing every way that was tried, if none works.
 */
export async function ensureProgram(
  name: string | readonly string[],
  options: { packages: ProgramPackages },
): Promise<string> {
  const names = typeof name === "string" ? [name] : name
  const found = findProgram(...names)
  if (found) return found

  const tried: string[] = []
  for (const install of installers(options.packages)) {
    if (!findProgram(install.program)) {
      tried.push(`${install.command}: there is no ${install.program} here`)
      continue
    }
    if (install.needsRoot && process.getuid?.() !== 0) {
      tried.push(`${install.command}: needs root`)
      continue
    }
    try {
      await install.run(() => findProgram(...names) !== null)
    } catch (error) {
      tried.push(`${install.command}: ${lastLines(error)}`)
    }
    const installed = findProgram(...names)
    if (installed) return installed
  }
  throw new Error(`${names.join(" or ")} is not on PATH and could not be installed:\n  ${tried.join("\n  ")}`)
}

interface Installer {
  readonly program: string
  readonly command: string
  readonly needsRoot: boolean
  run(isThere: () => boolean): Promise<void>
}

function installers(packages: ProgramPackages): Installer[] {
  const simple = (program: string, needsRoot: boolean, args: string[]): Installer => ({
    program,
    command: [program, ...args].join(" "),
    needsRoot,
    run: async () => void (await run(program, args, { timeout: 300_000 })),
  })
  return [
    ...(packages.apt ? [apt(packages.apt)] : []),
    ...(packages.dnf ? [simple("dnf", true, ["install", "-y", packages.dnf])] : []),
    ...(packages.apk ? [simple("apk", true, ["add", "--no-cache", packages.apk])] : []),
    // Homebrew refuses to run as root.
    ...(packages.brew ? [simple("brew", false, ["install", packages.brew])] : []),
  ]
}

function apt(name: string): Installer {
  const args = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
  const options = {
    timeout: 400_000,
    // RUNLEVEL=1 prevents the package from starting its own service beside ours.
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
  }
  return {
    program: "apt-get",
    command: `apt-get install -y ${name}`,
    needsRoot: true,
    async run(isThere) {
      const install = () =>
        run("apt-get", [...args, "install", "-y", "--no-install-recommends", name], options)
      // Another process may be installing: apt waits for dpkg's lock, but not for the lock of the package lists.
      for (let tries = 1; !isThere(); tries++)
        try {
          await install().catch(async () => {
            await run("apt-get", [...args, "update"], options)
            await install()
          })
        } catch (error) {
          if (tries === 5 || !/lock/i.test(lastLines(error))) throw error
          await sleep(3_000 * tries)
        }
    },
  }
}

function lastLines(error: unknown): string {
  const stderr = (error as { stderr?: string }).stderr?.trim()
  return (stderr || String(error)).split("\n").slice(-3).join(" · ")
}
