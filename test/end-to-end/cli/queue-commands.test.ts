/** `unseal queue` on the dead letters of a real worker. */
import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { queueKey } from "@unseal/queue/names"
import { FAILURES } from "@unseal/queue/run/ending"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import type { AppProcess } from "../../harness/process.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

let system: WorkerSystem
let cut: Archive[]
let worker: AppProcess
let well: Archive

/** Makes three archives with truncated objects, one of a project that the worker does not know, and a good one. */
beforeAll(async () => {
  system = await startWorkerSystem()
  cut = Array.from({ length: 3 }, () => system.make(188 * 16))
  for (const archive of cut) {
    await system.upload({ ...archive, ciphertext: archive.ciphertext.subarray(0, 17) })
    await system.enqueue(archive)
  }
  await system.enqueue(system.make(188 * 16), { projectId: "654321" })
  well = system.make(188 * 16)
  await system.upload(well)
  await system.enqueue(well)
  worker = await system.startWorker()
  await vi.waitFor(
    async () =>
      expect((await status()).accounts).toEqual({
        accepted: 5,
        committed: 1,
        deadLetters: 4,
        live: 0,
        discarded: 0,
        missing: 0,
      }),
    { timeout: 120_000, interval: 500 },
  )
})
afterAll(() => system?.close())

interface Status {
  readonly jobs: Readonly<Record<string, number>>
  readonly accounts: Readonly<Record<string, number>>
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await system.cli([...args, "--json"])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  return JSON.parse(stdout.toString()) as T
}
const status = () => json<Status>("queue", "status")
const list = (...args: string[]) =>
  json<{ jobId: string; archiveId: string; projectId: string; code: string }[]>(
    "queue",
    "dead-letters",
    ...args,
  )

test("dead letters are listed with their code, their attempts and what to do, and without a password", async () => {
  const { code, stdout, stderr } = await system.cli(["queue", "dead-letters"])
  const text = stdout.toString()
  expect({ code, stderr }).toEqual({ code: 0, stderr: "4 dead letters\n" })
  for (const archive of cut) expect(text).toContain(archive.archiveId)
  expect(text).toMatch(/ERR_CIPHERTEXT_INVALID: .* 17 bytes/)
  expect(text).toMatch(/ERR_JOB_INVALID: project 654321 is not configured here/)
  expect(text).toMatch(/compare its size with the callback's/)
  expect(text).not.toContain(cut[0]!.encryptedPassword.slice(0, 40))
})

test("they can be chosen by code, project, archive and number", async () => {
  expect(await list()).toHaveLength(4)
  expect(await list("--limit", "2")).toHaveLength(2)
  expect(await list("--code", "ERR_CIPHERTEXT_INVALID")).toHaveLength(3)
  expect(await list("--project", "654321")).toMatchObject([{ code: "ERR_JOB_INVALID" }])
  const [one] = await list("--id", cut[0]!.archiveId)
  expect(one).toMatchObject({ archiveId: cut[0]!.archiveId, projectId: PROJECT_ID })
  expect(await list("--id", one!.jobId)).toEqual([one])
  expect(await list("--id", randomUUID())).toEqual([])
  expect(await list("--older-than", "0s")).toHaveLength(4)
  expect(await list("--older-than", "72h", "--project", PROJECT_ID)).toEqual([])
  const { code, stderr } = await system.cli(["queue", "redrive", "--older-than", "soon"])
  expect([code, stderr]).toEqual([2, expect.stringContaining("--older-than must be")])
})

test("an unknown code is refused with the one that was meant", async () => {
  for (const command of ["dead-letters", "redrive"])
    expect(await system.cli(["queue", command, "--code", "ERR_STALED"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no failure has the code ERR_STALED: did you mean ERR_STALLED?"),
    })
  expect(await system.cli(["queue", "redrive", "--code", "toString"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("there are ERR_JOB_INVALID, "),
  })
})

test("a failure that only the queue sees is listed with its remedy, too", async () => {
  const [letter] = await list("--project", "654321")
  const job = queueKey("unseal", letter!.jobId)
  const reason = (await system.client.hget(job, "failedReason"))!
  await system.client.hset(job, "failedReason", "ERR_STALLED: its worker ended 21 times")
  const { stdout } = await system.cli(["queue", "dead-letters", "--code", "ERR_STALLED"])
  await system.client.hset(job, "failedReason", reason)
  expect(stdout.toString()).toContain(FAILURES.ERR_STALLED.remedy)
})

test("a missing queue is distinguished from an empty one", async () => {
  for (const command of ["status", "dead-letters", "redrive --all"]) {
    const args = ["queue", ...command.split(" ")]
    const empty = await system.cli(args, { UNSEAL_QUEUE: "misspelt" })
    expect(empty).toMatchObject({ code: 0, stderr: expect.stringContaining("there is no queue misspelt in") })
    if (command !== "redrive --all")
      expect((await system.cli(args)).stderr, command).not.toContain("there is no queue")
  }
})

test("a callback of another project than the environment's is refused with both", async () => {
  const archive = system.make(188 * 16)
  const { archiveId: id, encryptedPassword: password } = archive
  const file = join(system.directory, "callback.json")
  await writeFile(file, JSON.stringify({ id, status: "uploaded", partnerId: Number(PROJECT_ID), password }))
  for (const [args, env, origin] of [
    [[], { UNSEAL_PROJECT_ID: "777" }, "UNSEAL_PROJECT_ID"],
    [["--project", "777"], {}, "--project"],
  ] as const)
    expect(await system.cli(["submit", file, ...args], { ...env })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`is of project ${PROJECT_ID}, and ${origin} is 777: give --project`),
    })
})

test("redriving requires a choice, and a dry run changes nothing", async () => {
  expect(await system.cli(["queue", "redrive"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("say which dead letters"),
  })
  const dry = await json<{ redriven: unknown[] }>("queue", "redrive", "--all", "--dry-run")
  expect(dry.redriven).toHaveLength(4)
  expect(await list()).toHaveLength(4)
})

test("a damaged dead letter is listed as such, hides no other, and is skipped by a redrive", async () => {
  const [damaged] = await list("--id", cut[2]!.archiveId)
  const { jobId } = damaged!
  const job = queueKey("unseal", jobId)
  const whole = await system.client.dumpBuffer(job)
  await system.client.hdel(job, "data", "timestamp", "finishedOn", "failedReason")
  try {
    const listed = await system.cli(["queue", "dead-letters"])
    expect(listed).toMatchObject({ code: 0, stderr: "4 dead letters\n" })
    const text = listed.stdout.toString()
    for (const archive of cut) expect(text).toContain(archive.archiveId)
    const [, reason, remedy] = text.slice(text.indexOf(jobId)).split("\n")
    expect(reason).toBe("  ERR_JOB_INVALID: the reason is lost (damaged in redis)")
    expect(remedy).toMatch(/unseal submit CALLBACK\.json.*unseal archives reconcile.*unseal queue discard/)

    const lost = `${jobId} has lost its payload in redis and can't be redriven`
    const dry = await system.cli(["queue", "redrive", "--all", "--dry-run"])
    expect(dry).toMatchObject({ code: 1, stderr: expect.stringContaining(`unseal: ${lost}: `) })
    expect(dry.stderr).toContain("3 dead letters would be redriven")
    expect(dry.stdout.toString()).not.toContain(jobId)
    const one = await system.cli(["queue", "redrive", "--id", jobId, "--json"])
    expect(one).toMatchObject({ code: 1, stderr: expect.stringContaining("0 dead letters redriven") })
    expect(JSON.parse(one.stdout.toString())).toEqual({
      ...{ dryRun: false, redriven: [] },
      refused: [{ jobId, reason: expect.stringContaining(lost) }],
    })
  } finally {
    await system.client.restore(job, 0, whole, "REPLACE")
  }
  expect(await list("--id", jobId)).toEqual([damaged])
})

test("an id without a dead letter is refused, not skipped", async () => {
  const id = randomUUID()
  expect(await system.cli(["queue", "redrive", "--id", id])).toMatchObject({
    code: 2,
    stderr: `unseal: no dead letter has the id of a job or an archive ${id}; nothing was redriven\n`,
  })
})

test("a redriven archive is decrypted once its cause is fixed, and counts as accepted once", {
  timeout: 200_000,
}, async () => {
  await system.upload(cut[0]!)
  const { redriven } = await json<{ redriven: { from: string; to: string }[] }>(
    ...["queue", "redrive", "--id", cut[0]!.archiveId],
  )
  expect(redriven).toEqual([{ from: expect.any(String), to: `${redriven[0]!.from}_r2` }])
  await expect.poll(() => system.digest(cut[0]!), { timeout: 30_000 }).toBe(cut[0]!.plaintextSha256)
  // Unfixed ones become dead letters again.
  await json("queue", "redrive", "--code", "ERR_CIPHERTEXT_INVALID")
  await expect
    .poll(async () => (await status()).accounts, { timeout: 60_000, interval: 500 })
    .toEqual({ accepted: 5, committed: 2, deadLetters: 3, live: 0, discarded: 0, missing: 0 })
  expect((await list("--code", "ERR_CIPHERTEXT_INVALID")).every(({ jobId }) => jobId.endsWith("_r2"))).toBe(
    true,
  )
})

test("a committed archive is decrypted again on request, and counts as accepted again", {
  timeout: 120_000,
}, async () => {
  const { archiveId: id, encryptedPassword: password } = well
  const file = join(system.directory, "again.json")
  await writeFile(file, JSON.stringify({ id, status: "uploaded", partnerId: Number(PROJECT_ID), password }))
  const before = (await status()).accounts.accepted!
  const committed = async (count: number) =>
    expect
      .poll(async () => (await status()).accounts, { timeout: 60_000, interval: 500 })
      .toMatchObject({ accepted: before + count, live: 0, missing: 0 })

  const { stdout } = await system.cli(["submit", file])
  expect(stdout.toString()).toMatch(/^duplicate \S+: committed 20\d\d-\S+; --again decrypts it once more\n$/)
  for (const key of [`${PROJECT_ID}/${id}/archive.ts`, `${PROJECT_ID}/${id}/archive.json`])
    await system.destination.remove(key, AbortSignal.timeout(10_000))
  const again = await json<{ outcome: string; jobId: string }>("submit", file, "--again")
  expect(again).toMatchObject({ outcome: "enqueued", jobId: expect.stringMatching(/_r2$/) })
  await committed(1)
  expect(await system.digest(well)).toBe(well.plaintextSha256)

  // The queue keeps no password of a finished job, and there are no credentials to ask the vendor with.
  expect(await system.cli(["queue", "redrive", "--committed", id])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("has no credentials for the REST API"),
  })

  const dead = cut[1]!
  await writeFile(
    file,
    JSON.stringify({
      ...{ id: dead.archiveId, status: "uploaded", partnerId: Number(PROJECT_ID) },
      password: dead.encryptedPassword,
    }),
  )
  expect((await system.cli(["submit", file, "--again"])).stdout.toString()).toMatch(
    /^duplicate \S+: a dead letter since \S+; give it a new life with unseal queue redrive --id \S+_r2\n$/,
  )
})

test("the status shows what was accepted and its outcome, and fails if something is missing", {
  timeout: 120_000,
}, async () => {
  const { code, stdout } = await system.cli(["queue", "status", "--check"])
  expect({ code, text: stdout.toString() }).toEqual({
    code: 0,
    text: expect.stringMatching(/^accepted\s+6 = 3 committed \+ 3 dead letters \+ 0 live$/m),
  })
  // As an operator's own tool might do.
  const { jobId } = (await list("--project", "654321"))[0]!
  await system.client.zrem(queueKey("unseal", "failed"), jobId)
  await system.client.del(queueKey("unseal", jobId))
  expect((await status()).accounts).toMatchObject({ deadLetters: 2, missing: 1 })
  expect(await system.cli(["queue", "status"])).toMatchObject({ code: 0 })
  const checked = await system.cli(["queue", "status", "--check"])
  expect({ code: checked.code, stderr: checked.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^unseal: 1 accepted archive is missing: /),
  })
  expect(checked.stdout.toString()).toContain("+ 1 missing")
})

test("a discarded dead letter is gone for good, named in the output, and counted", async () => {
  const before = (await status()).accounts
  const [first, second] = await list()
  const none = await system.cli(["queue", "discard", first!.jobId])
  expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("--reason") })
  const wrong = await system.cli(["queue", "discard", first!.jobId, "nobody", "--reason", "gone"])
  expect({ code: wrong.code, stderr: wrong.stderr }).toEqual({
    code: 2,
    stderr: expect.stringContaining("archive nobody; nothing was discarded"),
  })
  expect((await status()).accounts).toEqual(before)

  // As after damage: the archive's id is still known.
  await system.client.hset(queueKey("unseal", second!.jobId), "data", "{")
  const ids = [first!.jobId, second!.archiveId]
  const { code, stdout, stderr } = await system.cli(["queue", "discard", ...ids, "--reason", "deleted there"])
  const text = stdout.toString()
  expect({ code, stderr }).toEqual({ code: 0, stderr: "2 dead letters discarded\n" })
  for (const { jobId, archiveId } of [first!, second!])
    expect(text).toMatch(new RegExp(`^discarded ${jobId}: project \\w+, archive ${archiveId}$`, "m"))
  expect(text).toContain("discarded because: deleted there")
  const { deadLetters, missing } = before as { deadLetters: number; missing: number }
  expect((await status()).accounts).toEqual({
    ...before,
    deadLetters: deadLetters - 2,
    discarded: 2,
    missing,
  })
  expect((await system.cli(["queue", "status"])).stdout.toString()).toContain("+ 2 discarded")
  const again = await system.cli(["queue", "discard", first!.jobId, "--reason", "again"])
  expect(again.code).toBe(2)
})

test("a paused queue keeps its worker ready and live, accepts jobs, and continues when it is resumed", async () => {
  const pause = await system.cli(["queue", "pause"])
  expect(pause.code).toBe(0)
  expect(pause.stdout.toString()).toMatch(/^paused since \S+Z: /)
  const archive = system.make(188 * 16)
  await system.upload(archive)
  await system.enqueue(archive)
  const shown = (await system.cli(["queue", "status"])).stdout.toString()
  expect(shown).toMatch(/^paused +since \S+Z: nothing begins until "unseal queue resume"$/m)
  expect(shown).toMatch(/^waiting +1$/m)
  // Longer than a worker waits for the queue to answer.
  for (let look = 0; look < 12; look++) {
    for (const path of ["/healthz", "/readyz"])
      expect((await fetch(`http://127.0.0.1:${worker.ports.admin}${path}`)).status).toBe(200)
    await sleep(500)
  }
  expect(await system.digest(archive)).toBeNull()

  const chosen = await system.cli(["queue", "resume", "--project", PROJECT_ID])
  expect(chosen.stderr).toContain("the queue is paused")
  const resumed = await system.cli(["queue", "resume"])
  expect(resumed.stdout.toString()).toMatch(/^resumed the queue, which was paused since \S+Z$/m)
  await expect.poll(() => system.digest(archive), { timeout: 30_000 }).toBe(archive.plaintextSha256)
  expect(await json("queue", "resume")).toEqual({ resumed: [], pause: null })
  expect(await status()).toMatchObject({ paused: null })
})

test("archives that were not restored in time are dead letters, and are done once they are restored and redriven", async () => {
  expect((await system.cli(["queue", "pause"])).code).toBe(0)
  // One part, three, and one that is redriven too early.
  const archives = [188 * 16, 11 * 1024 * 1024, 188 * 16].map(system.make)
  system.s3.quirks.add("archived")
  for (const archive of archives) {
    await system.upload(archive)
    const jobId = await system.enqueue(archive)
    // As if three days had passed since the first look.
    await system.client.hset(queueKey("unseal", jobId), "archivedSince", Date.now() - 73 * 3_600_000)
  }
  expect((await system.cli(["queue", "resume"])).code).toBe(0)
  const ids = archives.map(({ archiveId }) => archiveId)
  const letters = async () => (await list("--code", "ERR_OBJECT_ARCHIVED")).map(({ archiveId }) => archiveId)
  await expect.poll(async () => (await letters()).sort(), { timeout: 60_000 }).toEqual(ids.toSorted())
  for (const archive of archives) expect(await system.digest(archive)).toBeNull()

  const early = ids.pop()!
  expect((await system.cli(["queue", "redrive", "--id", early])).code).toBe(0)
  await expect.poll(async () => (await status()).jobs.delayed, { timeout: 60_000 }).toBe(1)
  expect((await letters()).sort()).toEqual(ids.toSorted())

  system.s3.quirks.delete("archived")
  expect((await system.cli(["queue", "redrive", "--code", "ERR_OBJECT_ARCHIVED"])).code).toBe(0)
  for (const archive of archives.slice(0, 2))
    await expect.poll(() => system.digest(archive), { timeout: 60_000 }).toBe(archive.plaintextSha256)
  expect(await letters()).toEqual([])
}, 180_000)

test("a Redis that is away is exit code 3", async () => {
  for (const command of ["status", "dead-letters"])
    expect(await system.cli(["queue", command], { REDIS_URL: "redis://127.0.0.1:1" })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("redis did not answer"),
    })
})
