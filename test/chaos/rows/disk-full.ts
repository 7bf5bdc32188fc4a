import { execFile } from "node:child_process"
import { mkdir, readdir, statfs } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { inWorld, type Row } from "../row.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"
import type { WorldOptions } from "../world/world.ts"

const run = promisify(execFile)
const MIB = 1024 * 1024
/** The file system takes memory only for what is written. */
const SIZE_MIB = 1_024

/** Mounts a file system of the test's own. Needs root. */
function onSmallDisk(): {
  readonly second: NonNullable<WorldOptions["second"]>
  directory(): string
  resize(mib: number): Promise<unknown>
} {
  let directory = ""
  return {
    directory: () => directory,
    resize: (mib) => run("mount", ["-o", `remount,size=${mib}m`, directory]),
    async second({ directory: parent, closing }) {
      directory = join(parent, "disk")
      await mkdir(directory)
      await run("mount", ["-t", "tmpfs", "-o", `size=${SIZE_MIB}m`, "unseal-chaos", directory])
      closing.push(() => run("umount", [directory]))
      return { destination: pathToFileURL(directory).href }
    },
  }
}

/** The destination is a directory on a disk that others have filled. */
export const diskFull: Row = {
  name: "disk-full",
  fault: "the disk of a project's destination is full for two minutes",
  demand: DEMAND,
  run(options) {
    const { second, directory, resize } = onSmallDisk()
    return inWorld(options, { second }, async (world) => {
      const findings = await throughTrouble(world, options, {
        what: "the disk is full",
        async begin() {
          const { blocks, bfree, bsize } = await statfs(directory())
          await resize(Math.max(1, Math.ceil(((blocks - bfree) * bsize) / MIB)))
        },
        end: () => resize(SIZE_MIB),
      })
      const names = await readdir(directory(), { recursive: true })
      const left = names.filter((name) => /\.unseal-(?!.*marks)/.test(name) && name.includes("part"))
      return {
        ...findings,
        failures: [...(findings.failures ?? []), ...left.map((name) => `${name} is left`)],
      }
    })
  },
}
