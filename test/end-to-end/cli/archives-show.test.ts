/** `unseal archives show` with a real queue, a real worker and a store. */
import { randomUUID } from "node:crypto"
import { recordKeyOf } from "@unseal/archive/record/record"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { PROJECT_ID } from "../../harness/system.ts"
import { type Archive, startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const SOON = { timeout: 120_000, interval: 200 }
const NO_REDIS = { REDIS_URL: "redis://127.0.0.1:1" }
const NO_STORES = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS: "" }
const signal = AbortSignal.timeout(900_000)

let system: WorkerSystem
let done: Archive
let cut: Archive
let missing: Archive

beforeAll(async () => {
  system = await startWorkerSystem()
  ;[done, cut, missing] = [system.make(188 * 16), system.make(188 * 16), system.make(188 * 16)]
  await system.upload(done)
  await system.upload({ ...cut, ciphertext: cut.ciphertext.subarray(0, 17) })
  for (const archive of [done, cut, missing]) await system.enqueue(archive, { size: 188 * 16 })
  await system.startWorker()
  await vi.waitFor(
    async () => expect(await states([done, cut, missing])).toEqual(["completed", "dead", "delayed"]),
    SOON,
  )
})
afterAll(() => system?.close())

interface Shown {
  readonly projects: readonly {
    readonly projectId: string
    readonly next: string
    readonly jobs: { readonly found?: readonly { readonly state: string }[]; readonly notLooked?: string }
    readonly [place: string]: unknown
  }[]
}

async function show(id: string, env: Record<string, string> = {}, ...args: string[]) {
  const { code, stdout, stderr } = await system.cli(["archives", "show", id, "--json", ...args], env)
  return { code, stderr, ...(JSON.parse(stdout.toString() || '{"projects":[]}') as Shown) }
}
const states = (archives: readonly Archive[]) =>
  Promise.all(
    archives.map(async ({ archiveId }) => (await show(archiveId)).projects[0]?.jobs.found?.[0]?.state),
  )
const text = async (id: string, env?: Record<string, string>) => {
  const { code, stdout, stderr } = await system.cli(["archives", "show", id], env)
  return { code, stderr, text: stdout.toString() }
}

test("a finished archive: its job, both objects with sizes and ETags, its digest, no password, nothing to do", async () => {
  const told = await text(done.archiveId)
  expect(told).toMatchObject({ code: 0, stderr: "" })
  expect(told.text).toMatch(/^queue {10}completed 20/m)
  expect(told.text).toContain(`s3://recordings/${done.key}, 3008 bytes (3.0 kB), ETag`)
  expect(told.text).toMatch(/^destination {4}s3:\/\/\S+archive\.ts, 3008 bytes/m)
  expect(told.text).toMatch(/committed 20\S+, attempt 1, of 3008 bytes/)
  expect(told.text).toContain(`SHA-256 ${done.plaintextSha256}`)
  expect(told.text).toMatch(/^open uploads {3}none$/m)
  expect(told.text).toMatch(/^vendor {9}not looked at: project \d+ has no credentials/m)
  expect(told.text).toMatch(/^next {11}nothing to do: it is decrypted$/m)
  const json = JSON.stringify(await show(done.archiveId))
  for (const output of [told.text, json]) expect(output).not.toContain(done.encryptedPassword.slice(0, 24))
})

test("a dead letter: its code and its remedy, without its password", async () => {
  const told = await text(cut.archiveId)
  expect(told.code).toBe(0)
  expect(told.text).toMatch(/^queue {10}dead letter since 20/m)
  expect(told.text).toContain("ERR_CIPHERTEXT_INVALID: ")
  expect(told.text).toContain("s3://recordings/")
  expect(told.text).toMatch(/^destination {4}not there: /m)
  expect(told.text).toMatch(/^next .*compare its size .*"unseal queue redrive --id \d+_/m)
  expect(told.text).not.toContain(cut.encryptedPassword.slice(0, 24))
  // It also accepts a job id, as other commands print it.
  const jobId = /unseal queue redrive --id ([^\s"]+)/.exec(told.text)![1]!
  expect((await text(jobId)).text).toBe(told.text)
})

test("a missing object: since when, under which keys, and when the worker looks again", async () => {
  // The worker looks again every few seconds, and the job runs meanwhile.
  let told = { text: "" }
  await vi.waitFor(async () => {
    told = await text(missing.archiveId)
    expect(told.text).toMatch(/^queue {10}delayed until 20/m)
  }, SOON)
  expect(told.text).toMatch(/its object has been missing since 20/)
  expect(told.text).toMatch(/^source {9}not there: s3:\S+archive\.ts, nor s3:\S+archive\.mp4$/m)
  expect(told.text).toMatch(/^next .*its object is not at the source: .*looked for again at 20/m)
})

test("with only the stores, or only Redis, it says what it did not look at", async () => {
  const stores = await show(done.archiveId, NO_REDIS)
  expect(stores).toMatchObject({ code: 0, projects: [{ next: "nothing to do: it is decrypted" }] })
  expect(stores.projects[0]!.jobs.notLooked).toMatch(/redis did not answer within 5 s/)
  const redis = await text(cut.archiveId, NO_STORES)
  expect(redis.code).toBe(0)
  expect(redis.text).toMatch(/dead letter since/)
  expect(redis.text).toMatch(/^source {9}not looked at: project 123456 is not configured here/m)
  const half = await text(done.archiveId, { UNSEAL_SOURCE: "" })
  expect(half.text).toMatch(/^source {9}not looked at: UNSEAL_SOURCE is not set$/m)
  expect(half.text).toMatch(/^next {11}nothing to do: it is decrypted$/m)
})

test("a store that can't be reached is reported, and so is everything else", async () => {
  const denied = system.s3.faults.add({
    ...{ operation: "*", key: new RegExp(`^${PROJECT_ID}/${done.archiveId}`) },
    ...{ times: Number.POSITIVE_INFINITY, action: { status: 403 } },
  })
  const told = await text(done.archiveId).finally(() => denied.remove())
  expect(told.code).toBe(0)
  expect(told.text).toMatch(/^queue {10}completed/m)
  expect(told.text).toMatch(/^source {9}(not looked at: ERR_STORE_DENIED|not there)/m)
})

test("an unknown archive exits with 3, an ambiguous prefix of an id exits with 2 and lists the candidates", async () => {
  const id = randomUUID()
  const nowhere = await text(id)
  expect(nowhere).toMatchObject({ code: 3, stderr: expect.stringContaining(`${id} was not found`) })
  expect(nowhere.text).toMatch(/^next {11}it is in none of the places/m)
  const blind = await text(id, { ...NO_REDIS, ...NO_STORES })
  expect(blind).toMatchObject({ code: 3, text: "" })
  expect(blind.stderr).toMatch(
    /the queue was not looked at: .*\nno store was looked at: set UNSEAL_PROJECT_ID/,
  )
  expect(await text(done.archiveId.slice(0, 8))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`did you mean ${done.archiveId}?`),
  })
  for (const [wrong, why] of [
    ["archive.ts", "is not an archive id"],
    ["00000000-0000", "the queue knows no archive whose id begins with"],
  ] as const)
    expect(await text(wrong)).toMatchObject({ code: 2, stderr: expect.stringContaining(why) })
})

test("shows all projects that know the archive, or the requested one", async () => {
  await system.enqueue(done, { projectId: "654321" })
  const all = await show(done.archiveId)
  expect(all.projects.map(({ projectId }) => projectId).sort()).toEqual([PROJECT_ID, "654321"])
  const one = await show(done.archiveId, {}, "--project", PROJECT_ID)
  expect(one.projects.map(({ projectId }) => projectId)).toEqual([PROJECT_ID])
})

test("an archive in no queue, or decrypted without a record: what to do", async () => {
  const archive = system.make(188 * 16)
  await system.upload(archive)
  expect((await show(archive.archiveId)).projects[0]!.next).toMatch(
    /^it is not in the queue, and its object is at the source: "unseal submit CALLBACK\.json"/,
  )
  await system.destination.remove(recordKeyOf(done.key), signal)
  const [own] = (await show(done.archiveId, {}, "--project", PROJECT_ID)).projects
  expect(own!.next).toMatch(/^its plaintext is at the destination without a record/)
  await writeSmallObject(system.destination, archive.key, Buffer.alloc(188, 0x47), "video/mp2t", signal)
  expect((await show(archive.archiveId)).projects[0]!.next).toMatch(/is not known to be this archive's/)
})
