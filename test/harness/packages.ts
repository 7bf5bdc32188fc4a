/**
 * Packages that only some tests need. They have install folders of their own, test/NAME, each with its lockfile, so that other
 * installations don't take longer. A test that needs one installs it on first use.
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const INSTALL_TIMEOUT_MS = 600_000

/**
 * Runs `npm ci` in `test/NAME`, unless the installation is newer than its lockfile. Resolves to the folder. Concurrent test files
 * take turns. Throws with npm's log if it fails.
 */
export async function installPackages(name: string): Promise<string> {
  const folder = join(import.meta.dirname, "..", name)
  if (await installed(folder)) return folder
  const lock = join(
    tmpdir(),
    `unseal-packages-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`,
  )
  const deadline = Date.now() + INSTALL_TIMEOUT_MS
  while (!(await taken(lock))) {
    if (Date.now() > deadline)
      throw new Error(`another process holds ${lock}: remove it if none installs test/${name}`)
    await sleep(500)
  }
  try {
    if (!(await installed(folder))) await install(folder)
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
  return folder
}

async function installed(folder: string): Promise<boolean> {
  // npm writes the hidden lockfile last, so an interrupted installation does not count.
  const [there, wanted] = await Promise.all(
    ["node_modules/.package-lock.json", "package-lock.json"].map((name) =>
      stat(join(folder, name)).catch(() => null),
    ),
  )
  if (!wanted) throw new Error(`${folder} has no package-lock.json`)
  return there !== null && there !== undefined && there.mtimeMs >= wanted.mtimeMs
}

/** Whether we now hold the lock. Removes a lock whose owner is gone, for the next try to take. */
async function taken(lock: string): Promise<boolean> {
  try {
    await mkdir(lock)
    await writeFile(join(lock, "pid"), String(process.pid))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
  const pid = Number(await readFile(join(lock, "pid"), "utf8").catch(() => Number.NaN))
  // A lock without a process id has only just been made.
  if (Number.isInteger(pid) && pid > 0 && !alive(pid)) await rm(lock, { recursive: true, force: true })
  return false
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

function install(folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const npm = spawn("npm", ["ci", "--workspaces=false", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: INSTALL_TIMEOUT_MS,
    })
    let log = ""
    npm.stdout.on("data", (chunk) => (log += chunk))
    npm.stderr.on("data", (chunk) => (log += chunk))
    npm.once("error", (error) => reject(new Error(`npm could not be started: ${error.message}`)))
    npm.once("close", (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Error(`npm ci in ${folder} ended with ${code ?? signal}; its log:\n${log}`)),
    )
  })
}
