/**
 * An Azure Blob server for the tests. Azurite has an install folder of its own, test/azurite: it takes longer to install than
 * everything else together, and only who runs these tests needs it. It is installed on the first use.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

export interface Azurite {
  /** The blob endpoint, with the account in its path. */
  readonly url: string
  readonly account: string
  /** Base64. Not a secret: it is Azurite's own, the same everywhere. */
  readonly key: string
  readonly connectionString: string
  close(): Promise<void>
}

const FOLDER = join(import.meta.dirname, "../azurite")
const ACCOUNT = "devstoreaccount1"
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
const START_TIMEOUT_MS = 60_000
const INSTALL_TIMEOUT_MS = 600_000

/** Starts Azurite on a free port of the loopback, with its data in memory. Installs it first if need be. */
export async function startAzurite(): Promise<Azurite> {
  await installOnce()
  const server = spawn(
    process.execPath,
    [
      join(FOLDER, "node_modules/azurite/dist/src/blob/main.js"),
      ...["--blobHost", "127.0.0.1", "--blobPort", "0"],
      ...["--inMemoryPersistence", "--extentMemoryLimit", "1024"],
      ...["--skipApiVersionCheck", "--disableTelemetry", "--silent"],
    ],
    { cwd: FOLDER, stdio: ["ignore", "pipe", "pipe"] },
  )
  // A test run that is stopped half-way must not leave a server behind.
  const kill = () => server.kill("SIGKILL")
  process.once("exit", kill)
  try {
    const address = await addressOf(server)
    const url = `${address}/${ACCOUNT}`
    return {
      url,
      account: ACCOUNT,
      key: KEY,
      connectionString: `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${url};`,
      async close() {
        process.off("exit", kill)
        await ended(server)
      },
    }
  } catch (error) {
    process.off("exit", kill)
    await ended(server)
    throw error
  }
}

/** The address in the line that Azurite prints when it listens. */
function addressOf(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = ""
    const fail = (why: string) => reject(new Error(`Azurite ${why}; its log:\n${log || "(empty)"}`))
    const timer = setTimeout(
      () => fail(`did not listen within ${START_TIMEOUT_MS / 1000} s`),
      START_TIMEOUT_MS,
    )
    const collect = (chunk: Buffer) => {
      log += chunk
      const address = /successfully listens on (http:\S+)/.exec(log)?.[1]
      if (address === undefined) return
      clearTimeout(timer)
      resolve(address)
    }
    server.stdout?.on("data", collect)
    server.stderr?.on("data", collect)
    server.once("error", (error) => fail(`could not be started (${error.message})`))
    server.once("exit", (code, signal) => fail(`ended with ${code ?? signal}`))
  })
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const exit = new Promise((resolve) => server.once("exit", resolve))
  // Its data is in memory: there is nothing that a gentler end would save.
  server.kill("SIGKILL")
  await exit
}

/** `npm ci` in test/azurite unless what is there is newer than its lockfile. Test files that race for it take turns. */
async function installOnce(): Promise<void> {
  if (await installed()) return
  const lock = join(
    tmpdir(),
    `unseal-azurite-${createHash("sha256").update(FOLDER).digest("hex").slice(0, 16)}`,
  )
  const deadline = Date.now() + INSTALL_TIMEOUT_MS
  while (!(await taken(lock))) {
    if (Date.now() > deadline)
      throw new Error(`another process holds ${lock}: remove it if none installs Azurite`)
    await sleep(500)
  }
  try {
    if (!(await installed())) await install()
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
}

async function installed(): Promise<boolean> {
  // npm writes the hidden lockfile last, so an installation that was cut off does not count.
  const [there, wanted] = await Promise.all(
    ["node_modules/.package-lock.json", "package-lock.json"].map((name) =>
      stat(join(FOLDER, name)).catch(() => null),
    ),
  )
  if (!wanted) throw new Error("test/azurite has no package-lock.json")
  return there !== null && there !== undefined && there.mtimeMs >= wanted.mtimeMs
}

/** Whether the lock is ours now. One whose owner is gone is removed, for the next try to take. */
async function taken(lock: string): Promise<boolean> {
  try {
    await mkdir(lock)
    await writeFile(join(lock, "pid"), String(process.pid))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
  const pid = Number(await readFile(join(lock, "pid"), "utf8").catch(() => Number.NaN))
  // Without a number yet, its owner has only just made it.
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

function install(): Promise<void> {
  return new Promise((resolve, reject) => {
    const npm = spawn("npm", ["ci", "--workspaces=false", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: FOLDER,
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
        : reject(new Error(`npm ci in test/azurite ended with ${code ?? signal}; its log:\n${log}`)),
    )
  })
}
