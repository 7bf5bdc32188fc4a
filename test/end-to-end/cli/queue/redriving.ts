/** `unseal queue redrive` and `unseal submit --again`. */
import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { queueKey } from "@unseal/queue/names"
import { expect, test } from "vitest"
import { PROJECT_ID } from "../../../harness/system.ts"
import { cut, json, list, status, system, well } from "./dead-letters.ts"

export function redrives(): void {
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
    expect(stdout.toString()).toMatch(
      /^duplicate \S+: committed 20\d\d-\S+; --again decrypts it once more\n$/,
    )
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
}
