import {
  appendFile,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import type { CreateOptions, OpenedStore, PartWriter, WrittenPart } from "../contract.ts"
import { openFileStore } from "./store.ts"

const PART = 6 * 752
const never = new AbortController().signal
const plain: CreateOptions = { contentType: "video/mp2t", metadata: {}, existing: "fail" }
const ours: CreateOptions = { ...plain, metadata: { "unseal-source-etag": "ours" } }
const bytes = Buffer.from(
  Array.from({ length: 3 * PART + 16 }, (_, index) => (index * 7 + (index >> 8)) & 255),
)

let directory: string
let store: OpenedStore

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-file-"))
  store = poisoned(
    await openFileStore({ kind: "file", directory }, { partSizeBytes: PART, idleTimeoutMs: 1000, env: {} }),
  )
})
afterEach(() => rm(directory, { recursive: true }))

function writePart(writer: PartWriter, number: number, content: Buffer = bytes): Promise<WrittenPart> {
  const body = content.subarray((number - 1) * PART, number * PART)
  return writer.writePart(number, [body], crc32(body), never)
}

async function writeParts(writer: PartWriter, content: Buffer = bytes) {
  const parts = new Map<number, WrittenPart>()
  for (let number = 1; (number - 1) * PART < content.length; number++)
    parts.set(number, await writePart(writer, number, content))
  return parts
}

const names = async () => (await readdir(directory)).sort()

describe("a directory", () => {
  for (const key of ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "./a", "a/.", "a\0b"])
    it(`can't have the key ${JSON.stringify(key)}`, async () => {
      await expect(store.stat(key, never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
      await expect(store.create(key, 16, plain, never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
      await expect(
        store.abortUpload({ key, token: "0".repeat(16), startedAt: new Date() }, never),
      ).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    })

  it("holds only the object when it is complete, accessible to its owner alone", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    await writer.complete(await writeParts(writer), never)
    expect(await names()).toEqual(["archive.ts"])
    const stats = await stat(join(directory, "archive.ts"))
    expect(stats.mode & 0o777).toBe(0o600)
    expect(stats.nlink).toBe(1)
  })

  it("shows only hidden names while an object is being written", async () => {
    const writer = await store.create("archive.ts", bytes.length, ours, never)
    await writeParts(writer)
    expect((await names()).every((name) => name.startsWith("."))).toBe(true)
    await writer.abort()
    expect(await names()).toEqual([])
  })

  it("does not take a file in the key's path for a directory", async () => {
    await writeFile(join(directory, "file"), "x")
    expect(await store.stat("file/archive.ts", never)).toBeNull()
    await expect(store.create("file/archive.ts", 16, plain, never)).rejects.toBeInstanceOf(Error)
  })

  it("refuses to complete over a directory of the same name", async () => {
    await mkdir(join(directory, "archive.ts"))
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    const parts = await writeParts(writer)
    await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
    await writer.abort()
  })

  it("treats only files as objects", async () => {
    await mkdir(join(directory, "folder"))
    expect(await store.stat("folder", never)).toBeNull()
  })
})

describe("metadata", () => {
  it("belongs to one version only", async () => {
    const writer = await store.create("archive.ts", bytes.length, ours, never)
    await writer.complete(await writeParts(writer), never)
    expect(await store.stat("archive.ts", never)).toMatchObject({ metadata: ours.metadata })
    await appendFile(join(directory, "archive.ts"), "x")
    expect(await store.stat("archive.ts", never)).toMatchObject({ metadata: {} })
  })

  it("stays when the same bytes are written into the file again", async () => {
    const path = join(directory, "archive.ts")
    const writer = await store.create("archive.ts", bytes.length, ours, never)
    await writer.complete(await writeParts(writer), never)
    await utimes(path, 1, 1)
    expect(await store.stat("archive.ts", never)).toMatchObject({ metadata: ours.metadata })

    const other = Buffer.from(bytes)
    other[2 * PART] = other[2 * PART]! ^ 1
    await writeFile(path, other, { flag: "r+" })
    expect(await store.stat("archive.ts", never)).toMatchObject({ metadata: {} })
  })

  it("of a replaced version is removed with it", async () => {
    for (const source of ["first", "second"]) {
      const options: CreateOptions = { ...plain, metadata: { source }, existing: "replace" }
      const writer = await store.create("archive.ts", bytes.length, options, never)
      await writer.complete(await writeParts(writer), never)
      expect(await store.stat("archive.ts", never)).toMatchObject({ metadata: { source } })
    }
    expect(await names()).toHaveLength(2)
  })

  it("of a version that never became visible is removed with the upload", async () => {
    await writeFile(join(directory, "archive.ts"), "somebody else's")
    const writer = await store.create("archive.ts", bytes.length, ours, never)
    const parts = await writeParts(writer)
    await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
    await writer.abort()
    expect(await names()).toEqual(["archive.ts"])
  })
})

describe("a read", () => {
  it("does not give the last bytes of a file that was overwritten in place meanwhile", async () => {
    const path = join(directory, "archive.ts")
    await writeFile(path, Buffer.alloc(2 * 1024 * 1024, 1))
    const object = await store.stat("archive.ts", never)
    let given = 0
    const reading = async () => {
      for await (const chunk of store.read(object!, { start: 0, end: object!.size }, never)) {
        if (given === 0) {
          await writeFile(path, Buffer.alloc(2 * 1024 * 1024, 2), { flag: "r+" })
          await utimes(path, 1, 1)
        }
        given += chunk.length
      }
    }
    await expect(reading()).rejects.toMatchObject({ code: "ERR_OBJECT_CHANGED" })
    expect(given).toBeLessThan(object!.size)
  })

  it("reports a file that was cut short", async () => {
    const path = join(directory, "archive.ts")
    await writeFile(path, Buffer.alloc(2 * 1024 * 1024, 1))
    const object = await store.stat("archive.ts", never)
    const reading = async () => {
      for await (const _ of store.read(object!, { start: 0, end: object!.size }, never))
        await truncate(path, 600_000)
    }
    await expect(reading()).rejects.toMatchObject({ code: "ERR_OBJECT_CHANGED" })
  })
})

describe("after a crash", () => {
  it("a torn line in the journal means that the part was not written", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    const first = await writePart(writer, 1)
    await writePart(writer, 2)
    const journal = join(directory, (await names()).find((name) => name.endsWith(".parts"))!)
    const text = await readFile(journal, "latin1")
    await truncate(journal, text.length - 3)
    const resumed = await store.create("archive.ts", bytes.length, { ...plain, token: writer.token }, never)
    expect(await resumed.written(never)).toEqual(new Map([[1, first]]))
    await resumed.abort()
  })

  it("while a part was being overwritten, the part counts as missing", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    await writePart(writer, 1)
    const controller = new AbortController()
    const reason = new Error("killed")
    const body = [bytes.subarray(0, 16), bytes.subarray(16, PART)]
    // Runs between the two pieces.
    Object.assign(body, {
      *[Symbol.iterator]() {
        yield body[0]
        controller.abort(reason)
        yield body[1]
      },
    })
    const again = writer.writePart(1, body, crc32(bytes.subarray(0, PART)), controller.signal)
    await expect(again).rejects.toBe(reason)
    expect((await writer.written(never)).size).toBe(0)
    await writer.abort()
  })

  it("between link and clean-up, the object is ours and keeps its metadata", async () => {
    const writer = await store.create("archive.ts", bytes.length, ours, never)
    const parts = await writeParts(writer)
    await writer.complete(parts, never)
    const visible = await store.stat("archive.ts", never)
    const temporary = join(directory, `.archive.ts.unseal-${writer.token}`)
    await link(join(directory, "archive.ts"), temporary)
    const notes = [...parts].map(([number, part]) => `${number} ${part.size} ${part.tag}\n`)
    await writeFile(`${temporary}.parts`, `unseal-parts 1 ${bytes.length} ${PART}\n${notes.join("")}`)

    const resumed = await store.create("archive.ts", bytes.length, { ...ours, token: writer.token }, never)
    await expect(writePart(resumed, 1)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
    for (const [number, part] of parts)
      await appendFile(`${temporary}.parts`, `${number} ${part.size} ${part.tag}\n`)
    expect(await resumed.complete(await resumed.written(never), never)).toEqual(visible)
    expect(await store.stat("archive.ts", never)).toEqual(visible)
    expect(await names()).toHaveLength(2)
    await resumed.abort()
    expect(await store.stat("archive.ts", never)).toEqual(visible)
  })

  it("a journal without its file is found and removed", async () => {
    const writer = await store.create("a b.ts", bytes.length, plain, never)
    await rm(join(directory, `.a b.ts.unseal-${writer.token}`))
    const uploads = await Array.fromAsync(store.openUploads(never))
    expect(uploads).toMatchObject([{ key: "a b.ts", token: writer.token }])
    await store.abortUpload(uploads[0]!, never)
    expect(await names()).toEqual([])
  })

  it("an object that another process completed from the same upload is ours", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    const parts = await writeParts(writer)
    const other = await store.create("archive.ts", bytes.length, { ...plain, token: writer.token }, never)
    const object = await other.complete(parts, never)
    expect(await writer.complete(parts, never)).toEqual(object)
  })

  it("an object of the same size that differs in one byte is not ours", async () => {
    const content = Buffer.from(bytes)
    content[PART + 5]! ^= 1
    await writeFile(join(directory, "archive.ts"), content)
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    const parts = await writeParts(writer)
    await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_DESTINATION_EXISTS" })
    await writer.abort()
    expect(await readFile(join(directory, "archive.ts"))).toEqual(content)
  })
})

describe("an upload", () => {
  it("whose whole directory is gone, as after unmounting, is a trouble of the deployment", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    await rename(directory, `${directory}-away`)
    try {
      await expect(writePart(writer, 1)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    } finally {
      await rename(`${directory}-away`, directory)
    }
    await writePart(writer, 1)
  })

  it("that was aborted meanwhile accepts no part and leaves no file behind", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    await writePart(writer, 1)
    await writer.abort()
    await expect(writePart(writer, 2)).rejects.toMatchObject({ code: "ERR_UPLOAD_GONE" })
    expect(await names()).toEqual([])
  })

  it("is not completed from parts that were rewritten since", async () => {
    const writer = await store.create("archive.ts", bytes.length, plain, never)
    const parts = await writeParts(writer)
    await writePart(writer, 2, Buffer.alloc(bytes.length, 9))
    await expect(writer.complete(parts, never)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    await writer.abort()
  })
})
