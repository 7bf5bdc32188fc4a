/** What `unseal queue dead-letters` shows, and what the commands refuse. */
import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { queueKey } from "@unseal/queue/names"
import { FAILURES } from "@unseal/queue/run/ending"
import { expect, test } from "vitest"
import { PROJECT_ID } from "../../../harness/system.ts"
import { cut, list, system } from "./dead-letters.ts"

export function lists(): void {
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
      stderr: expect.stringContaining("the codes are ERR_JOB_INVALID, "),
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
      expect(empty).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("there is no queue misspelt in"),
      })
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
        stderr: expect.stringContaining(
          `belongs to project ${PROJECT_ID}, but ${origin} is 777: give --project`,
        ),
      })
  })
}
