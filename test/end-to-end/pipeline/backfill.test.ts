/**
 * `unseal backfill` with a real worker: a manifest becomes archives at the destination, and a report that accounts for each line.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { readState } from "@unseal/operations/backfill/home/state"
import { PROJECT_ID } from "../../harness/system.ts"
import type { Archive } from "../../harness/worker-system.ts"
import { testWith } from "../../harness/worker-test.ts"

const never = new AbortController().signal
const callbackOf = ({ archiveId, encryptedPassword, ciphertext }: Archive) =>
  JSON.stringify({
    ...{ event: "archive", status: "uploaded", id: archiveId, partnerId: Number(PROJECT_ID) },
    ...{ password: encryptedPassword, size: ciphertext.length },
  })

const test = testWith((system, expect) => ({
  async backfill(...args: string[]) {
    const { code, stdout, stderr } = await system.cli(["backfill", ...args])
    return { code, stdout: String(stdout), stderr: String(stderr) }
  },
  async ended(id: string) {
    const endedAt = async () => (await readState(system.destination, id, never)).endedAt
    await expect.poll(endedAt, { timeout: 120_000, interval: 200 }).toBeDefined()
  },
}))

test("a manifest is decrypted once, after the callbacks, and its report accounts for each line", async ({
  system,
  at,
  expect,
}) => {
  const archives = Array.from({ length: 20 }, () => system.make(1_504))
  for (const archive of archives) await system.upload(archive)
  const foreign = system.make(1_504)
  const manifest = join(system.directory, "callbacks.ndjson")
  const lines = [
    ...archives.map(callbackOf),
    callbackOf({ ...foreign, encryptedPassword: Buffer.alloc(256, 7).toString("base64") }),
    "{ this is cut",
    JSON.stringify({ event: "archive", status: "started", id: foreign.archiveId, partnerId: 1 }),
  ]
  await system.upload(foreign)
  await writeFile(manifest, `${lines.join("\n")}\n`)
  await system.startWorker()

  const started = await at.backfill("start", manifest)
  expect(started).toMatchObject({ code: 0, stdout: expect.stringMatching(/^started [0-9a-f]{16}\n$/) })
  const id = started.stdout.trim().split(" ")[1]!
  expect((await at.backfill("start", manifest)).stdout).toMatch(new RegExp(`^(running|ended) ${id}\n$`))
  await at.ended(id)

  for (const archive of archives) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
  const report = await at.backfill("report", id)
  const rows = report.stdout.trim().split("\n").slice(1)
  expect(rows.filter((row) => row.includes(",committed,"))).toHaveLength(20)
  expect(rows.find((row) => row.includes(foreign.archiveId))).toContain("dead-letter,ERR_NO_MATCHING_KEY")
  expect(report.code).toBe(1)
  expect((await at.backfill("list")).stdout).toContain(id)
})
