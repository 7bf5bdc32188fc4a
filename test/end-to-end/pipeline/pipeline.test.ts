/** The whole system as deployed: signed callbacks in, plaintext and records out, with processes that may die. */
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseRecord } from "@unseal/archive/record/record"
import type { StoredObject } from "@unseal/archive/store/contract"
import { readSmallObject, writeSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runCli, startApp } from "../../harness/process.ts"
import type { StoreKind } from "../../harness/stores.ts"
import { PROJECT_ID, type System, startSystem } from "../../harness/system.ts"

const never = new AbortController().signal
const MB = 1_000_000
/** Makes others take over a killed worker's archives within seconds. */
const WORKER = {
  UNSEAL_LOCK_MS: "3000",
  UNSEAL_STALL_CHECK_MS: "1000",
  UNSEAL_PART_SIZE_BYTES: String(5 * 1024 * 1024),
}

async function until<T>(
  what: string,
  look: () => Promise<T | null | undefined | false>,
  seconds = 120,
): Promise<T> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(100)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`${what}: not within ${seconds} s`)
}

async function digest(system: System, object: StoredObject): Promise<string> {
  const hash = createHash("sha256")
  if (object.size > 0)
    for await (const chunk of system.destination.read(object, { start: 0, end: object.size }, never))
      hash.update(chunk)
  return hash.digest("hex")
}

async function recordOf(system: System, key: string) {
  const object = await system.destination.stat(key.replace(/\.ts$/, ".json"), never)
  return object && parseRecord(await readSmallObject(system.destination, object, 65_536, never))
}

/** Waits until every recorded archive has its record, and compares each with what the simulator encrypted. */
async function allCorrect(system: System, count: number): Promise<void> {
  await until(`${count} archives recorded`, async () => {
    const archives = await system.archives()
    return archives.length === count && archives.every((archive) => archive.size !== null)
  })
  for (const { id } of await system.archives()) {
    const archive = await system.archive(id)
    const record = await until(`record of ${id}`, () => recordOf(system, archive.key))
    const object = await system.destination.stat(archive.key, never)
    expect(await digest(system, object!)).toBe(archive.sha256.plaintext)
    expect(record).toMatchObject({
      archiveId: id,
      projectId: PROJECT_ID,
      source: { size: archive.recording.size },
      destination: { key: archive.key, size: object!.size, etag: object!.etag },
      sha256: { plaintext: archive.sha256.plaintext },
      media: { syncErrors: 0 },
    })
  }
}

async function openUploads(system: System): Promise<number> {
  let count = 0
  for await (const _ of system.destination.openUploads(never)) count++
  return count
}

async function metric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const values = text
    .split("\n")
    .filter((line) => line.startsWith(name))
    .map((line) => Number(line.split(" ").at(-1)))
  return values.reduce((sum, value) => sum + value, 0)
}

describe.each<StoreKind>(["s3", "azure", "file"])("the system on %s", (store) => {
  let system: System
  beforeAll(async () => {
    system = await startSystem({ store, workers: 2, workerEnv: WORKER })
  })
  afterAll(() => system?.close())

  it("decrypts everything that is recorded, whatever the size, order and number of callbacks", async () => {
    await system.record({ size: 0 })
    await system.record({ size: 16, exact: true })
    await system.record({ size: 752, exact: true, tail: "none", duplicates: 10 })
    await system.record({ size: 6972 * 752, exact: true, tail: "none" })
    await system.record({ size: 6972 * 752 + 16, exact: true, tail: "none" })
    await system.record({ size: 12 * MB, tail: "zero" })
    await system.record({ size: MB, statuses: ["started", "uploaded", "stopped"], count: 4 })
    await allCorrect(system, 10)
    expect(await openUploads(system)).toBe(0)
    const enqueued = await metric(
      system.ingest.ports.admin!,
      'unseal_callbacks_total{project="123456",outcome="enqueued"}',
    )
    expect(enqueued).toBe(10)
    const duplicates = await metric(
      system.ingest.ports.admin!,
      'unseal_callbacks_total{project="123456",outcome="duplicate"}',
    )
    expect(duplicates).toBeGreaterThanOrEqual(10)
  })

  it("moves no byte when the callback of a decrypted archive comes again", async () => {
    const read = await Promise.all(
      system.workers.map((worker) => metric(worker.ports.admin!, "unseal_bytes_total")),
    )
    const { id } = (await system.archives())[0]!
    const { recording } = await system.archive(id)
    const callback = {
      id,
      event: "archive",
      status: "uploaded",
      partnerId: 123456,
      password: recording.encryptedPassword,
    }
    const submitted = await runCli(["submit", "-", "--json"], {
      env: system.env,
      input: Buffer.from(JSON.stringify(callback)),
    })
    expect(JSON.parse(submitted.stdout.toString())).toMatchObject({ outcome: "duplicate", archiveId: id })
    expect(
      await Promise.all(system.workers.map((worker) => metric(worker.ports.admin!, "unseal_bytes_total"))),
    ).toEqual(read)
  })
})

describe("two workers", () => {
  let system: System
  beforeAll(async () => {
    system = await startSystem({ store: "s3", workers: 2, workerEnv: { ...WORKER, UNSEAL_CONCURRENCY: "2" } })
  })
  afterAll(() => system?.close())

  it("share the work, and one that is killed in the middle loses nothing", async () => {
    const count = 24
    for (let index = 0; index < count; index++) await system.record({ size: (6 + (index % 4) * 6) * MB })
    const [first] = system.workers
    await until("both workers at work", async () =>
      system.workers.every((worker) => worker.log.some((line) => line.msg === "archive committed")),
    )
    first!.kill("SIGKILL")
    await first!.exited
    const third = await system.startWorker()
    await allCorrect(system, count)
    expect(third.log.some((line) => line.msg === "archive started")).toBe(true)
    const status = await runCli(["queue", "status", "--json"], { env: system.env })
    expect(JSON.parse(status.stdout.toString())).toMatchObject({ jobs: { failed: 0 } })
    // If a worker dies between beginning an upload and noting it, only the janitor can find the upload.
    const janitor = await runCli(["janitor", "--older-than", "0s"], {
      env: {
        ...system.env,
        UNSEAL_PROJECT_ID: PROJECT_ID,
        UNSEAL_SOURCE: system.stores.source,
        UNSEAL_DESTINATION: system.stores.destination,
        UNSEAL_KEYS: dirname(system.keyFile),
      },
    })
    expect(janitor).toMatchObject({ code: 0 })
    expect(await openUploads(system)).toBe(0)
  }, 240_000)

  it("hand their archives back on SIGTERM, and exit with 0", async () => {
    await system.record({ size: 60 * MB, count: 4 })
    await until("an archive begun", async () =>
      system.workers.slice(1).some((worker) => worker.log.at(-1)?.msg === "archive started"),
    )
    for (const worker of system.workers.slice(1)) expect(await worker.stop()).toBe(0)
    await system.startWorker()
    await allCorrect(system, 28)
  }, 240_000)
})

describe("what can't be decrypted", () => {
  let system: System
  beforeAll(async () => {
    system = await startSystem({ store: "s3", workers: 1, workerEnv: WORKER })
  })
  afterAll(() => system?.close())

  it("becomes a dead letter with its own code after one attempt, and leaves nothing behind", async () => {
    const vectors = join(import.meta.dirname, "../../vectors")
    const password = async (vector: string) =>
      (await readFile(join(vectors, vector, "password.b64"), "utf8")).trim()
    await system.record({ size: MB })
    await allCorrect(system, 1)
    const { key, recording } = await system.archive((await system.archives())[0]!.id)
    const source = await system.source.stat(key, never)
    const ciphertext = await readSmallObject(system.source, source!, 2 * MB, never)
    const cases: [code: string, encryptedPassword: string, bytes: Uint8Array][] = [
      ["ERR_PASSWORD_INVALID", "e42c...d23", ciphertext],
      ["ERR_NO_MATCHING_KEY", await password("openssl-zero"), ciphertext],
      ["ERR_NO_MATCHING_KEY", Buffer.alloc(128, 7).toString("base64"), ciphertext],
      ["ERR_CIPHERTEXT_INVALID", recording.encryptedPassword, ciphertext.subarray(0, -3)],
      ["ERR_CIPHERTEXT_INVALID", recording.encryptedPassword, new Uint8Array(0)],
      ["ERR_NOT_MPEG_TS", recording.encryptedPassword, new Uint8Array(16_000)],
    ]
    const ids = cases.map((_, index) => `00000000-0000-4000-8000-00000000000${index}`)
    for (const [index, [, encryptedPassword, bytes]] of cases.entries()) {
      await writeSmallObject(
        system.source,
        `${PROJECT_ID}/${ids[index]}/archive.ts`,
        bytes,
        "video/mp2t",
        never,
      )
      const callback = {
        id: ids[index],
        status: "uploaded",
        partnerId: PROJECT_ID,
        password: encryptedPassword,
        size: 1000,
      }
      const { code, stderr } = await runCli(["submit", "-"], {
        env: system.env,
        input: Buffer.from(JSON.stringify(callback)),
      })
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    }
    const letters = await until("six dead letters", async () => {
      const { stdout } = await runCli(["queue", "dead-letters", "--json"], { env: system.env })
      const found = JSON.parse(stdout.toString()) as {
        archiveId: string
        code: string
        attempts: number
        reason: string
      }[]
      return found.length === cases.length && found
    })
    const byId = new Map(letters.map((letter) => [letter.archiveId, letter]))
    for (const [index, [code, encryptedPassword]] of cases.entries()) {
      expect(byId.get(ids[index]!)).toMatchObject({ code, attempts: 1 })
      expect(JSON.stringify([letters, system.workers[0]!.log])).not.toContain(encryptedPassword)
      expect(await system.destination.stat(`${PROJECT_ID}/${ids[index]}/archive.ts`, never)).toBeNull()
    }
    expect(await openUploads(system)).toBe(0)
    expect(
      await metric(
        system.workers[0]!.ports.admin!,
        'unseal_archives_total{project="123456",outcome="dead-letter"',
      ),
    ).toBe(6)
  })

  it("waits for a late object without using an attempt, and is done soon after it appears", async () => {
    const recorded = (await system.archives())[0]!.id
    const { key, recording, sha256 } = await system.archive(recorded)
    const id = "00000000-0000-4000-8000-0000000000aa"
    const callback = { id, status: "uploaded", partnerId: PROJECT_ID, password: recording.encryptedPassword }
    await runCli(["submit", "-"], { env: system.env, input: Buffer.from(JSON.stringify(callback)) })
    await until("a run that did not find it", async () =>
      system.workers[0]!.log.some((line) => line.archiveId === id && line.code === "ERR_OBJECT_NOT_FOUND"),
    )
    const source = await system.source.stat(key, never)
    const bytes = await readSmallObject(system.source, source!, 2 * MB, never)
    await writeSmallObject(system.source, `${PROJECT_ID}/${id}/archive.ts`, bytes, "video/mp2t", never)
    const record = await until("its record", () => recordOf(system, `${PROJECT_ID}/${id}/archive.ts`), 30)
    expect(record).toMatchObject({ attempts: 1, sha256: { plaintext: sha256.plaintext } })
  })
})

describe("a process with wrong settings", () => {
  it("names every problem at once and exits with 2 before it connects to anything", async () => {
    const env = { UNSEAL_PORT: "99999", UNSEAL_SIGNATURE_SECRT: "x", REDIS_URL: "http://nowhere" }
    const failure = await startApp("ingest", { env }).then(
      () => null,
      (error: Error) => error.message,
    )
    expect(failure).toMatch(/ended with 2/)
    for (const part of [
      "UNSEAL_PORT",
      "did you mean UNSEAL_SIGNATURE_SECRET?",
      "REDIS_URL",
      "there is no project",
    ])
      expect(failure).toContain(part)
  })
})
