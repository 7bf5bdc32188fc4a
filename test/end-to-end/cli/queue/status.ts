/** `unseal queue status`, `discard`, `pause` and `resume`. */
import { setTimeout as sleep } from "node:timers/promises"
import { queueKey } from "@unseal/queue/names"
import { expect, test } from "vitest"
import { PROJECT_ID } from "../../../harness/system.ts"
import { json, list, status, system, worker } from "./dead-letters.ts"

export function accounts(): void {
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
    const { code, stdout, stderr } = await system.cli([
      "queue",
      "discard",
      ...ids,
      "--reason",
      "deleted there",
    ])
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
    const letters = async () =>
      (await list("--code", "ERR_OBJECT_ARCHIVED")).map(({ archiveId }) => archiveId)
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
}
