import { copyFile, mkdir, readdir, readFile, stat, truncate } from "node:fs/promises"
import { join } from "node:path"
import { openDeadLetters } from "@unseal/queue/dead-letters/dead-letters"
import { createRegistry } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import {
  archiveId,
  directory,
  encryptedPassword,
  line,
  PROJECT,
  redis,
  running,
  start,
  submit,
  upload,
  VECTOR,
} from "../../../test/harness/runs/worker-in-process.ts"
import { whyStuck } from "./worker.ts"

test("an archive that arrives after its job is decrypted to openssl's result once there is a key", async () => {
  start()
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))

  const jobId = await submit()
  await line("archive's object is not there yet")
  await upload()
  await line("archive committed")
  const plaintext = Buffer.concat([
    await readFile(join(VECTOR, "../audio-only-12s.mpegts")),
    // What `openssl enc` pads with, and `-nopad` keeps.
    Buffer.alloc(4, 4),
  ])
  const out = join(directory, "out", PROJECT, archiveId)
  expect((await readFile(join(out, "archive.ts"))).equals(plaintext)).toBe(true)
  expect(JSON.parse(await readFile(join(out, "archive.json"), "utf8"))).toMatchObject({ attempts: 1 })
  expect(running.lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ jobId, tail: "pkcs7" })

  const text = await running.registry.metrics()
  expect(text).toContain(`unseal_archives_total{project="${PROJECT}",outcome="committed",code="none"} 1`)
  expect(text).toContain(`unseal_queue_jobs{state="completed"} 1`)
  expect(text).toMatch(/unseal_bytes_total\{direction="written"\} [1-9]/)
  expect(JSON.stringify(running.lines)).not.toContain(encryptedPassword)
})

test("an object that is not of the announced size is decrypted with a warning", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await upload()
  start()
  await submit(PROJECT, { size: 411_920 })
  await line("archive committed")
  const { size } = await stat(join(VECTOR, "archive.enc"))
  expect(running.lines.find(({ announcedSize }) => announcedSize === 411_920)).toMatchObject({
    level: "warn",
    ...{ msg: "archive's size is not the one that its callback announced", archiveId },
    ...{ announcedSize: 411_920, sourceSize: size },
  })
  expect(await running.registry.metrics()).toContain('unseal_announced_size_total{outcome="differs"} 1')
  const record = await readFile(join(directory, "out", PROJECT, archiveId, "archive.json"), "utf8")
  expect(JSON.parse(record)).toMatchObject({ announced: { size: 411_920, fits: false } })
})

test("an object that must be of the announced size is waited for until it is", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await upload()
  const object = join(directory, "in", PROJECT, archiveId, "archive.ts")
  const { size } = await stat(object)
  await truncate(object, 64_000)
  start({ UNSEAL_ANNOUNCED_SIZE: "require" })
  await submit(PROJECT, { size })
  await line("archive's object does not have the announced size yet")
  expect(await readdir(join(directory, "out"))).toEqual([])
  await upload()
  await line("archive committed")
  const record = await readFile(join(directory, "out", PROJECT, archiveId, "archive.json"), "utf8")
  expect(JSON.parse(record)).toMatchObject({ attempts: 1, announced: { size, fits: true } })
})

test("an object whose key differs from the project's templates is read at that key, and nowhere else", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await mkdir(join(directory, "in", "old"))
  await copyFile(join(VECTOR, "archive.enc"), join(directory, "in", "old", "one.ts"))
  // A worker that looked here would take the wrong object.
  await mkdir(join(directory, "in", PROJECT, archiveId), { recursive: true })
  await copyFile(join(VECTOR, "key.pem"), join(directory, "in", PROJECT, archiveId, "archive.ts"))
  start()
  await submit(PROJECT, { sourceKey: "old/one.ts" })
  await line("archive committed")
  const record = await readFile(join(directory, "out", PROJECT, archiveId, "archive.json"), "utf8")
  expect(JSON.parse(record)).toMatchObject({ source: { key: "old/one.ts" } })
})

test("a job of a project that is not configured is a dead letter", async () => {
  start()
  const jobId = await submit("424242")
  await line("archive is a dead letter")
  const letters = openDeadLetters({ connection: redis, queue: `worker-${directory.slice(-6)}` })
  // The line comes before the queue has recorded it.
  await expect
    .poll(() => letters.list())
    .toMatchObject([
      { jobId, code: "ERR_JOB_INVALID", reason: "ERR_JOB_INVALID: project 424242 is not configured here" },
    ])
  await letters.close()
})

test("an output under another tail rule is left alone by a second job, unless it may be replaced", async () => {
  const out = join(directory, "out", PROJECT, archiveId, "archive.ts")
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  const again = async (jobId: string, env: Record<string, string>, message: string) => {
    await running.worker?.close()
    redis?.disconnect()
    running.registry = createRegistry()
    running.lines = []
    start(env)
    await submit(PROJECT, {}, jobId)
    await line(message)
    return (await stat(out)).size
  }
  await upload()
  const first = `${PROJECT}_${archiveId}`
  const kept = await again(first, {}, "archive committed")
  expect(await again(`${first}_r2`, { UNSEAL_TAIL: "trim" }, "archive is a dead letter")).toBe(kept)
  expect(running.lines.find(({ msg }) => msg === "archive is a dead letter")).toMatchObject({
    code: "ERR_DESTINATION_EXISTS",
    attempt: 1,
  })
  const replace = { UNSEAL_TAIL: "trim", UNSEAL_EXISTING: "replace" }
  expect(await again(`${first}_r3`, replace, "archive committed")).toBe(kept - 4)
})

test("is stuck only if it makes no progress although it could", () => {
  const consumer = (active: number, lastTrouble = "") => ({ active, lastProgressAt: 1_000, lastTrouble })
  const ok = { okSince: 0 }
  expect(whyStuck(consumer(2), ok, 5_000, 6_000)).toBeNull()
  expect(whyStuck(consumer(2), ok, 5_000, 6_001)).toBe(
    "no progress for 5001 ms with 2 jobs in hand, although redis takes work",
  )
  expect(whyStuck(consumer(0, "redis connection failed: x"), ok, 5_000, 6_001)).toMatch(
    /; the last error of its connections: redis connection failed: x$/,
  )
  expect(whyStuck(consumer(2), { okSince: null }, 5_000, 6_001)).toBeNull()
  expect(whyStuck(consumer(0), { okSince: 2_000 }, 5_000, 7_000)).toBeNull()
  expect(whyStuck(consumer(0), { okSince: 2_000 }, 5_000, 7_001)).not.toBeNull()
})
