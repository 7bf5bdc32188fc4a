/** An Azure Blob server for tests, installed in test/azurite on first use. */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { neverOrphan } from "../orphans.ts"
import { installPackages } from "../packages.ts"

export interface Azurite {
  /** The blob endpoint, with the account in its path. */
  readonly url: string
  readonly account: string
  /** Base64. Not a secret: it is Azurite's own, the same everywhere. */
  readonly key: string
  readonly connectionString: string
  close(): Promise<void>
}

const FOLDER = join(import.meta.dirname, "../../azurite")
const ACCOUNT = "devstoreaccount1"
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
const START_TIMEOUT_MS = 60_000

/** Starts Azurite on a free loopback port, with its data in memory. Installs it if necessary. */
export async function startAzurite(): Promise<Azurite> {
  await installPackages("azurite")
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
  neverOrphan(server)
  try {
    const address = await addressOf(server)
    const url = `${address}/${ACCOUNT}`
    return {
      url,
      account: ACCOUNT,
      key: KEY,
      connectionString: `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${url};`,
      close: () => ended(server),
    }
  } catch (error) {
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
  // Its data is in memory, so a gentler end would save nothing.
  server.kill("SIGKILL")
  await exit
}
