import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { openFileStore } from "@unseal/archive/store/directory/store"
import { poisoned } from "../harness/poisoned.ts"
import { describeStore } from "./store-suite.ts"
import type { StoreUnderTest } from "./suite/store-under-test.ts"

const PART_SIZE = 88 * 752
const options = { partSizeBytes: PART_SIZE, idleTimeoutMs: 5_000, env: {} }

async function setup(): Promise<StoreUnderTest> {
  const base = await mkdtemp(join(tmpdir(), "unseal-file-store-"))
  const directory = join(base, "archives")
  await mkdir(directory)
  const open = async (path: string) =>
    poisoned(await openFileStore({ kind: "file", directory: path }, options))
  return {
    store: await open(directory),
    reopen: () => open(directory),
    async put(key, bytes) {
      const path = join(directory, key)
      await mkdir(dirname(path), { recursive: true })
      // Makes the new file before removing the old one, so that it can't get the same inode number.
      await writeFile(join(base, "put"), bytes)
      await rename(join(base, "put"), path)
    },
    get: (key) => readFile(join(directory, key)).catch(() => null),
    remove: (key) => rm(join(directory, key)),
    async openUploadCount() {
      const names = await readdir(directory, { recursive: true })
      return names.filter((name) => name.includes(".unseal-")).length
    },
    minimumPartSize: PART_SIZE,
    missing: await open(join(base, "nowhere")),
    close: () => rm(base, { recursive: true }),
  }
}

describeStore("a directory", setup, ["denied", "unreachable"])
