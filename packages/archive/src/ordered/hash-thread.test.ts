import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { join } from "node:path"
import { promisify } from "node:util"
import type { Worker } from "node:worker_threads"
import { afterAll, expect, test } from "vitest"
import { createThreadHash } from "./hash-thread.ts"

const started: Worker[] = []
const noteStarted = (worker: Worker) => void started.push(worker)
process.on("worker", noteStarted)
afterAll(() => void process.off("worker", noteStarted))

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const SLOT = 1024 * 1024
const BOUNDARIES = [0, 1, 63, 64, 65, SLOT - 1, SLOT, SLOT + 1, 8 * SLOT, 17 * SLOT + 7]

test.each(BOUNDARIES)("hashes %i bytes like openssl", async (size) => {
  const bytes = randomBytes(size)
  const hash = createThreadHash()
  await hash.update(bytes)
  expect(await hash.digest()).toBe(sha256(bytes))
})

test("keeps the hashes of many archives apart, and allows bytes to change once they were taken", async () => {
  const archives = Array.from({ length: 20 }, (_, index) => randomBytes(index * 100_000))
  const digests = archives.map(async (archive) => {
    const hash = createThreadHash()
    const memory = new Uint8Array(150_000)
    for (let at = 0; at < archive.length; at += memory.length) {
      const piece = archive.subarray(at, at + memory.length)
      memory.set(piece)
      await hash.update(memory.subarray(0, piece.length))
      memory.fill(0)
    }
    return hash.digest()
  })
  expect(await Promise.all(digests)).toEqual(archives.map(sha256))
})

test("closing one hash leaves the others alone", async () => {
  const [given, kept] = [createThreadHash(), createThreadHash()]
  await given.update(randomBytes(3 * SLOT))
  given.close()
  await kept.update(Buffer.from("abc"))
  expect(await kept.digest()).toBe(sha256(Buffer.from("abc")))
})

test("hashes that are closed while they take bytes leave room to others", async () => {
  const taken = Array.from({ length: 10 }, () => {
    const given = createThreadHash()
    const update = given.update(randomBytes(2 * SLOT))
    given.close()
    return update
  })
  await Promise.all(taken)
  const all = randomBytes(9 * SLOT)
  expect(await createThreadHash().digest(all)).toBe(sha256(all))
})

test("a thread that ends fails everything that waits, and the next hash gets another", async () => {
  const [hash, other] = [createThreadHash(), createThreadHash()]
  await hash.update(randomBytes(SLOT))
  expect(started).toHaveLength(1)
  const ending = started[0]!.terminate()
  // More than there is room for, so the last of them wait for answers that never come.
  const waiting = [...Array(12)].map(() => hash.update(randomBytes(SLOT)))
  const ended = Promise.allSettled([waiting.at(-1), other.digest(), ...waiting])
  await ending
  const [update, digest] = await ended
  expect([update.status, digest.status]).toEqual(["rejected", "rejected"])
  await expect(hash.update(randomBytes(1))).rejects.toThrow("the hashing thread ended")
  await expect(hash.digest()).rejects.toThrow("the hashing thread ended")
  hash.close()

  const next = createThreadHash()
  await next.update(Buffer.from("abc"))
  expect(await next.digest()).toBe(sha256(Buffer.from("abc")))
  expect(started).toHaveLength(2)
})

test("keeps a process alive while a digest is pending, and no longer", async () => {
  const module = JSON.stringify(join(import.meta.dirname, "hash-thread.ts"))
  const script = `
    const { createThreadHash } = await import(${module})
    const hash = createThreadHash()
    await hash.update(new Uint8Array(10_000_000))
    process.stdout.write(await hash.digest())`
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    timeout: 60_000,
  })
  expect(stdout).toBe(sha256(new Uint8Array(10_000_000)))
})
