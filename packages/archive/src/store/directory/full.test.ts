/** A directory on a full disk: a file system of the test's own, which takes root to mount. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { afterEach, expect, it } from "vitest"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { openFileStore } from "./store.ts"

const never = new AbortController().signal
const plain = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

let directory: string | undefined
afterEach(() => {
  if (directory === undefined) return
  execFileSync("umount", [directory])
  rmSync(directory, { recursive: true })
  directory = undefined
})

/** A store on a file system with `options`; `null` if mounting is not permitted. */
async function openOn(options: string) {
  const path = mkdtempSync(join(tmpdir(), "unseal-full-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "unseal-full", path], { stdio: "pipe" })
  } catch {
    rmSync(path, { recursive: true })
    return null
  }
  directory = path
  const store = await openFileStore(
    { kind: "file", directory: path },
    { partSizeBytes: 4512, idleTimeoutMs: 1000, env: {} },
  )
  return { path, store: poisoned(store) }
}

it.each([
  // The directory itself takes one inode, and an upload takes two.
  ["has no room for another file", "size=1m,nr_inodes=2", 0],
  ["has no room for another byte", "size=64k", 64 * 1024],
])("leaves nothing of an upload that can't begin, since the disk %s", async (_, options, fill) => {
  const disk = await openOn(options)
  if (disk === null) return
  const filler = join(disk.path, "filler")
  if (fill > 0) await writeFile(filler, Buffer.alloc(fill)).catch(() => {})
  const before = await readdir(disk.path)
  await expect(disk.store.create("archive.ts", 16, plain, never)).rejects.toMatchObject({
    code: "ERR_STORE_FULL",
  })
  expect(await readdir(disk.path)).toEqual(before)
})

it("can be written to as soon as there is room, and the upload continues", async () => {
  const disk = await openOn("size=64k")
  if (disk === null) return
  const body = Buffer.alloc(4512, 7)
  const writer = await disk.store.create("archive.ts", 2 * 4512, plain, never)
  const first = await writer.writePart(1, [body], crc32(body), never)
  const filler = join(disk.path, "filler")
  await writeFile(filler, Buffer.alloc(64 * 1024)).catch(() => {})
  await expect(writer.writePart(2, [body], crc32(body), never)).rejects.toMatchObject({
    code: "ERR_STORE_FULL",
  })
  await rm(filler)
  const second = await writer.writePart(2, [body], crc32(body), never)
  const parts = new Map([
    [1, first],
    [2, second],
  ])
  expect(await writer.complete(parts, never)).toMatchObject({ size: 2 * 4512 })
})
