/** Archived objects of two projects are asked back through real adapters, by processes that follow each other. */
import { randomUUID } from "node:crypto"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { createRestorer, type Restorer } from "@unseal/operations/backfill/restore"
import { restoreNotes } from "@unseal/queue/backfill/restores"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../harness/poisoned.ts"
import { useQueue } from "../harness/queue.ts"

const current = useQueue("restorer")
const credential = {
  accessKeyId: "UNSEALTESTACCESSKEY",
  secretAccessKey: "a-secret-access-key-0123456789abcdef",
}
const never = new AbortController().signal
const PROJECTS = ["100001", "100002"] as const

let server: S3Server
const stores = new Map<string, OpenedStore>()
beforeAll(async () => {
  const buckets = PROJECTS.map((id) => `recordings-${id}`)
  server = await startS3Server({
    credentials: [credential],
    buckets,
    restoreDelayMs: Number.POSITIVE_INFINITY,
  })
  for (const id of PROJECTS) {
    const url = `s3://recordings-${id}?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`
    stores.set(id, poisoned(await openStore(url, { env: {}, credentials: credential })))
  }
})
afterAll(async () => {
  for (const store of stores.values()) await store.close()
  await server?.close()
})

interface Line {
  readonly projectId: string
  readonly archiveId: string
}

async function archived(projectId: string, count: number): Promise<Line[]> {
  const lines: Line[] = []
  for (let made = 0; made < count; made++) {
    const archiveId = randomUUID()
    await writeSmallObject(
      stores.get(projectId)!,
      `${archiveId}.mp4`,
      Buffer.alloc(752, 0x47),
      "video/mp2t",
      never,
    )
    server.archive(`recordings-${projectId}`, `${archiveId}.mp4`, made % 2 ? "GLACIER" : "DEEP_ARCHIVE")
    lines.push({ projectId, archiveId })
  }
  return lines
}
const prepare = (restorer: Restorer, line: Line) =>
  restorer.prepare(
    line,
    stores.get(line.projectId)!,
    [`${line.archiveId}.ts`, `${line.archiveId}.mp4`],
    never,
  )
/** How often each object was asked back. */
const asked = () => {
  const times = new Map<string, number>()
  for (const { operation, key } of server.operations.entries())
    if (operation === "RestoreObject") times.set(key, (times.get(key) ?? 0) + 1)
  return times
}

test("each object is asked back once and never more than the limit at once, although a process dies in each round", async () => {
  const [ofFirst, ofSecond] = [await archived("100001", 6), await archived("100002", 5)]
  const lines = ofFirst.flatMap((line, index) => [line, ...ofSecond.slice(index, index + 1)])
  const notes = restoreNotes(current.client, current.name, randomUUID())
  let left = lines
  let now = 0
  server.operations.clear()
  for (let round = 0; left.length > 0; round++) {
    expect(round).toBeLessThan(10)
    // Each time another process, which knows only the notes. Time passes between them.
    now += 600_000
    const restorer = createRestorer({ tier: "bulk", most: 3 }, notes, () => now)
    const states = await Promise.all(left.map((line) => prepare(restorer, line)))
    expect(states.filter((state) => state === "waiting").length).toBeLessThanOrEqual(3)
    expect(restorer.open).toBe(Math.min(3, left.filter((_, index) => states[index] !== "ready").length))
    left = left.filter((_, index) => states[index] !== "ready")
    // What is on its way comes back before the next process looks.
    server.archives.finish()
  }
  expect([...asked().values()]).toEqual(Array(lines.length).fill(1))
  expect((await notes.load()).size).toBe(0)
  for (const { projectId, archiveId } of lines)
    expect((await stores.get(projectId)!.stat(`${archiveId}.mp4`, never))!.archival).toBeUndefined()
})

test("a project without the permission to restore is refused by name, and the other project's objects come back meanwhile", async () => {
  const [forbidden] = await archived("100001", 1)
  const allowed = await archived("100002", 2)
  server.policies.set(credential.accessKeyId, {
    Statement: [
      { Effect: "Allow", Action: ["s3:GetObject", "s3:ListBucket"], Resource: "*" },
      { Effect: "Allow", Action: "s3:RestoreObject", Resource: "arn:aws:s3:::recordings-100002/*" },
    ],
  })
  try {
    const restorer = createRestorer(
      { tier: "standard", most: 2 },
      restoreNotes(current.client, current.name, "a"),
    )
    const refusal = prepare(restorer, forbidden!)
    await expect(refusal).rejects.toThrow(
      expect.objectContaining({
        ...{ code: "ERR_STORE_DENIED", side: "source" },
        message: expect.stringContaining("s3:RestoreObject"),
      }),
    )
    for (const line of allowed) expect(await prepare(restorer, line)).toBe("waiting")
    expect(restorer.open).toBe(2)
    server.policies.delete(credential.accessKeyId)
    // It is asked back as soon as the permission and a place are there.
    expect(await prepare(restorer, forbidden!)).toBe("full")
    await restorer.forget(allowed[0]!)
    expect(await prepare(restorer, forbidden!)).toBe("waiting")
  } finally {
    server.policies.delete(credential.accessKeyId)
  }
})
