/** buildah, as it works without an engine and without kernel features that a test machine may lack. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { ensureProgram } from "../../harness/programs.ts"

const run = promisify(execFile)

/** Processes of a build get a chroot and the machine's network. */
export const ISOLATION = ["--isolation", "chroot"]

/**
 * Runs a command of buildah with its images in the directory `storage`, and resolves to what it prints. Rejects with its last lines
 * if it fails.
 */
export async function buildah(storage: string, ...args: string[]): Promise<string> {
  const program = await ensureProgram("buildah", { packages: { apt: "buildah" } })
  // Copies of whole file systems need no support of the kernel's.
  const place = [
    "--storage-driver",
    "vfs",
    "--root",
    join(storage, "root"),
    "--runroot",
    join(storage, "run"),
  ]
  try {
    const { stdout } = await run(program, [...place, ...args], {
      timeout: 1_700_000,
      maxBuffer: 256 * 2 ** 20,
    })
    return stdout
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string }
    const last = `${stdout}\n${stderr}`.trim().split("\n").slice(-40).join("\n")
    throw new Error(`buildah ${args[0]} failed:\n${last}`, { cause: error })
  }
}
