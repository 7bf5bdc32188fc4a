/** A directory on an unresponsive file system. A named pipe without a writer blocks the thread that opens it, like a dead mount. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { constants } from "node:fs"
import {
  type FileHandle,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { crc32 } from "node:zlib"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { poisoned } from "../../../../../test/harness/poisoned.ts"
import { openStore } from "../open.ts"
import { BUFFER_SIZE } from "./buffers.ts"
import { metadataFileOf } from "./names.ts"
import { etagOf } from "./object.ts"
import { shareThreads } from "./threads.ts"

const PART = 1395 * 752
const never = new AbortController().signal
const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const

let directory: string
let pipes: string[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-hung-"))
  pipes = []
})
afterEach(async () => {
  vi.restoreAllMocks()
  await release()
  await rm(directory, { recursive: true })
})

/** Makes opening `path` block. */
async function hang(path: string): Promise<void> {
  const pipe = `${path}.pipe`
  await promisify(execFile)("mkfifo", [pipe])
  await rename(pipe, path)
  pipes.push(path)
}

/** Makes the file system respond again. */
async function release(): Promise<void> {
  for (const path of pipes.splice(0)) {
    // One process holding both ends unblocks all others, which then read nothing, or write into nothing.
    const ends = await open(path, constants.O_RDWR | constants.O_NONBLOCK)
    await rm(path)
    // Gives those that are about to open it time to do so.
    await new Promise((resolve) => setTimeout(resolve, 100))
    await ends.close()
  }
}

const openDirectory = async (name = "") =>
  poisoned(await openStore(`file://${join(directory, name)}`, { env: {}, partSizeBytes: PART }))

async function readAll(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Uint8Array[] = []
  for await (const piece of pieces) copies.push(Uint8Array.from(piece))
  return Buffer.concat(copies)
}

/** An object whose metadata can't be read. */
async function hungObject(name: string): Promise<void> {
  const path = join(directory, name)
  await writeFile(path, "x")
  await hang(metadataFileOf(path, etagOf(await stat(path, { bigint: true }))))
}

test("a look ends with its signal, even while it waits for a thread", async () => {
  await hungObject("a.ts")
  const store = await openDirectory()
  const stop = new AbortController()
  const looks = Array.from({ length: 12 }, () => store.stat("a.ts", stop.signal))
  const ended = Promise.allSettled(looks)
  stop.abort(new Error("silent"))
  for (const look of await ended) expect(look).toMatchObject({ reason: { message: "silent" } })
})

test("a hanging directory leaves threads to others and to the rest of the process, and recovers", async () => {
  await hungObject("a.ts")
  await writeFile(join(directory, "well.ts"), "well")
  const [sick, well] = [await openDirectory(), await openDirectory()]
  const stop = new AbortController()
  const looks = Array.from({ length: 12 }, () => sick.stat("a.ts", stop.signal))
  // Directories have two of four threads, and both would be in use.
  expect((await readFile(join(directory, "well.ts"))).toString()).toBe("well")
  stop.abort(new Error("silent"))
  await Promise.allSettled(looks)
  await release()
  expect(await well.stat("well.ts", never)).toMatchObject({ size: 4 })
  expect(await sick.stat("well.ts", never)).toMatchObject({ size: 4 })
  expect(await sick.stat("a.ts", never)).toMatchObject({ size: 1 })
})

test.each([1, 3])("one of %s parts that hangs is given up, and later results are right", async (count) => {
  const size = count * PART
  const bytes = Buffer.alloc(size, "plaintext of this archive ")
  const store = await openDirectory()
  const writer = await store.create("a.ts", size, options, never)
  const journal = join(directory, (await readdir(directory)).find((name) => name.endsWith(".parts"))!)
  const noted = await readFile(journal)
  const slab = Buffer.from(bytes.subarray(0, PART))
  const sum = crc32(slab)
  await hang(journal)
  const stop = new AbortController()
  const writing = writer.writePart(1, [slab], sum, stop.signal)
  const given = expect(writing).rejects.toThrow("silent")
  setTimeout(() => stop.abort(new Error("silent")), 200)
  await given
  await release()
  await writeFile(journal, noted)

  const resumed = await store.create("a.ts", size, { ...options, token: writer.token }, never)
  expect((await resumed.written(never)).size).toBe(0)
  const parts = new Map()
  for (let number = 1; number <= count; number++) {
    const body = bytes.subarray((number - 1) * PART, number * PART)
    parts.set(number, await resumed.writePart(number, [body], crc32(body), never))
  }
  await resumed.complete(parts, never)
  expect((await readFile(join(directory, "a.ts"))).equals(bytes)).toBe(true)
})

/** The prototype of all open files, whose reads and writes can be made to hang: no pipe takes one at a position. */
async function files(): Promise<FileHandle> {
  await using file = await open(directory, constants.O_RDONLY)
  return Object.getPrototypeOf(file)
}

test.each([1, 3])(
  "a write that hangs halfway through one of %s parts is given up, and later results are right",
  async (count) => {
    const size = count * PART
    const bytes = Buffer.alloc(size, "plaintext of this archive ")
    const store = await openDirectory()
    const writer = await store.create("a.ts", size, options, never)
    const answered = Promise.withResolvers<void>()
    const written = Promise.withResolvers<void>()
    const write = vi.spyOn(await files(), "write").mockImplementationOnce(async function (
      this: FileHandle,
      ...given: unknown[]
    ) {
      await answered.promise
      try {
        return await (this.write as (...given: unknown[]) => Promise<never>)(...given)
      } finally {
        written.resolve()
      }
    } as never)
    const stop = new AbortController()
    const body = bytes.subarray(0, PART)
    const given = expect(writer.writePart(1, [body], crc32(body), stop.signal)).rejects.toThrow("silent")
    await vi.waitFor(() => expect(write).toHaveBeenCalled())
    stop.abort(new Error("silent"))
    await given

    const resumed = await store.create("a.ts", size, { ...options, token: writer.token }, never)
    expect((await resumed.written(never)).size).toBe(0)
    const parts = new Map()
    for (let number = 1; number <= count; number++) {
      const part = bytes.subarray((number - 1) * PART, number * PART)
      parts.set(number, await resumed.writePart(number, [part], crc32(part), never))
    }
    // What hung goes on at last, and writes what it was given where it is already.
    answered.resolve()
    await written.promise
    await resumed.complete(parts, never)
    expect((await readFile(join(directory, "a.ts"))).equals(bytes)).toBe(true)
  },
)

test.each([1, 3])(
  "a read that hangs in the last of %s pieces ends with its signal, and the next read is right",
  async (count) => {
    const size = count * BUFFER_SIZE
    const bytes = Buffer.alloc(size, "ciphertext of this archive ")
    await writeFile(join(directory, "a.ts"), bytes)
    const store = await openDirectory()
    const object = (await store.stat("a.ts", never))!
    const answered = Promise.withResolvers<void>()
    const prototype = await files()
    const { read } = prototype
    let reads = 0
    vi.spyOn(prototype, "read").mockImplementation(async function (this: FileHandle, ...given: unknown[]) {
      if (++reads === count) await answered.promise
      return (read as (...given: unknown[]) => Promise<never>).apply(this, given)
    } as never)
    const stop = new AbortController()
    const reading = expect(readAll(store.read(object, { start: 0, end: size }, stop.signal))).rejects.toThrow(
      "silent",
    )
    await vi.waitFor(() => expect(reads).toBe(count))
    stop.abort(new Error("silent"))
    await reading
    const again = await readAll(store.read(object, { start: 0, end: size }, never))
    expect(again.equals(bytes)).toBe(true)
    answered.resolve()
  },
)

test("threads are granted in the order of requests, by one directory and by all", async () => {
  const share = shareThreads(4)
  const [one, other] = [share(), share()]
  const hung = Array.from({ length: 2 }, () => Promise.withResolvers<void>())
  const stop = new AbortController()
  const begun = hung.map(() => Promise.withResolvers<void>())
  const runs = hung.map(({ promise }, index) =>
    one.run(() => {
      begun[index]!.resolve()
      return promise
    }, stop.signal),
  )
  await Promise.all(begun.map(({ promise }) => promise))
  const order: string[] = []
  const note = (name: string) => async () => void order.push(name)
  const waiting = [other.run(note("first"), never), one.run(note("second"), never)]
  const gone = other.run(note("gone"), stop.signal)
  const ended = Promise.allSettled([...runs, gone])
  stop.abort(new Error("silent"))
  for (const run of await ended) expect(run).toMatchObject({ reason: { message: "silent" } })
  expect(order).toEqual([])
  hung[0]!.resolve()
  await Promise.all(waiting)
  expect(order).toEqual(["first", "second"])
  hung[1]!.resolve()
  await vi.waitFor(() => one.run(note("third"), never))
})

test("a mount that is dead for many directories leaves threads to other mounts", async () => {
  const share = shareThreads(16)
  const answered = Promise.withResolvers<void>()
  let blocked = 0
  const hang = () => {
    blocked++
    return answered.promise
  }
  const dead = Array.from({ length: 10 }, () => share("/mnt/dead"))
  const looks = dead.flatMap((threads) => Array.from({ length: 5 }, () => threads.run(hang, never)))
  for (const well of [share("/mnt/well"), share()])
    expect(await well.run(async () => "answered", never)).toBe("answered")
  expect(blocked).toBe(6)
  answered.resolve()
  await Promise.all(looks)
  expect(blocked).toBe(50)
})

test("work that fails before it begins returns its thread", async () => {
  const threads = shareThreads(4)()
  const fails = () => {
    throw new Error("no such key")
  }
  for (let i = 0; i < 5; i++) await expect(threads.run(fails)).rejects.toThrow("no such key")
})

test.each([
  ["a thread that nothing can end keeps no process alive", "a.ts", [null, "SIGKILL"]],
  ["a process with a directory ends with its code", "none.ts", [3, null]],
])("%s", async (_, key, end) => {
  await hungObject("a.ts")
  const script = `
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, "../open.ts"))}
    const store = await openStore(${JSON.stringify(`file://${directory}`)}, { env: {} })
    store.stat("${key}", new AbortController().signal).catch(() => {})
    setTimeout(() => process.exit(3), 500)`
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" })
  expect(await once(child, "exit")).toEqual(end)
})
