/**
 * `unseal backfill plan` as an operator runs it: manifests in files, in a store and at the vendor, for projects that work and one
 * that does not.
 */
import { randomUUID } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { runCli } from "../../harness/process.ts"
import { useQueue } from "../../harness/queue.ts"
import { baseUrl, archive as listed, requests, vendor } from "../../harness/vendor-server.ts"

const current = useQueue("plan")
const never = new AbortController().signal
const credential = {
  AWS_ACCESS_KEY_ID: "unsealplan",
  AWS_SECRET_ACCESS_KEY: "a-secret-access-key-0123456789abcdef",
}
/** 256 bytes, as for a key of 2,048 bits. */
const PASSWORD = Buffer.alloc(256, 7).toString("base64")
const GONE = "100003"

let server: S3Server
let directory: string
let env: Record<string, string>
const stores = new Map<string, OpenedStore>()
const urlOf = (bucket: string, key = "") =>
  `s3://${bucket}${key && `/${key}`}?${new URLSearchParams({ endpoint: server.url, region: "us-east-1" })}`

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-plan-"))
  const credentials = [
    { accessKeyId: credential.AWS_ACCESS_KEY_ID, secretAccessKey: credential.AWS_SECRET_ACCESS_KEY },
  ]
  const buckets = ["recordings", "decrypted", "manifests"]
  server = await startS3Server({ credentials, buckets, restoreDelayMs: Number.POSITIVE_INFINITY })
  for (const bucket of buckets)
    stores.set(bucket, poisoned(await openStore(urlOf(bucket), { env: {}, credentials: credentials[0] })))
  await writeFile(join(directory, "secret"), "canary-api-secret")
})
afterAll(async () => {
  for (const store of stores.values()) await store.close()
  await server?.close()
  await rm(directory, { recursive: true })
})
beforeEach(async () => {
  const project = (id: string, source = "recordings") => ({
    ...{ id, source: urlOf(source), destination: urlOf("decrypted"), keys: "/nowhere" },
    ...{ apiUrl: baseUrl, apiSecretFile: join(directory, "secret") },
  })
  const projects = [project("100001"), project("100002"), project(GONE, "no-such-bucket")]
  await writeFile(join(directory, "projects.json"), JSON.stringify({ projects }))
  env = {
    ...{ ...credential, REDIS_URL: current.redis.url, UNSEAL_QUEUE: current.name },
    UNSEAL_PROJECTS_FILE: join(directory, "projects.json"),
  }
})

const put = (bucket: string, key: string, text: string | Uint8Array) =>
  writeSmallObject(stores.get(bucket)!, key, Buffer.from(text), "text/plain", never)

/** A recording at the source; with a record, if it is done. */
async function recorded(projectId: string, isDone = false): Promise<string> {
  const archiveId = randomUUID()
  const key = `${projectId}/${archiveId}/archive.ts`
  await put("recordings", key, Buffer.alloc(752, 0x47))
  if (isDone)
    await put(
      "decrypted",
      `${projectId}/${archiveId}/archive.json`,
      JSON.stringify({
        ...{ version: 1, archiveId, projectId, crc32: "00000000", attempts: 1, unsealVersion: "0.1.0" },
        source: { key, size: 752, etag: "s" },
        destination: { key, size: 752, etag: "d" },
        tail: { form: "unpadded", padding: 0 },
        media: { packets: 4, syncErrors: 0 },
        ...{ startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:01.000Z" },
      }),
    )
  return archiveId
}
const plan = (args: readonly string[], input?: Uint8Array) =>
  runCli(["backfill", "plan", ...args], { env, ...(input && { input }) })
const rowOf = (projectId: string, archiveId: string) => `${archiveId},${projectId},${PASSWORD}\n`
const HEADER = "archiveId,projectId,password\n"

test("a manifest in a file is compared, and trouble of one project does not affect the plan of the others", async () => {
  const cold = await recorded("100002")
  server.archive("recordings", `100002/${cold}/archive.ts`, "GLACIER")
  const rows = [
    rowOf("100001", await recorded("100001", true)),
    rowOf("100001", await recorded("100001")),
    rowOf("100001", randomUUID()),
    rowOf("100002", cold),
    rowOf(GONE, randomUUID()),
    rowOf("999999", randomUUID()),
    "no-uuid,100001,x\n",
  ]
  await writeFile(join(directory, "manifest.csv"), HEADER + rows.join(""))
  const prices = ["--price-restores", "1000", "--price-reads", "0"]
  const path = join(directory, "manifest.csv")
  const { code, stdout, stderr } = await plan([path, "--restore", "standard", "--workers", "4", ...prices])
  const text = stdout.toString()
  expect(text).toMatch(/^manifest +6 archives of 3 projects; 1 line is malformed$/m)
  expect(text).toMatch(/^ +line 8: /m)
  expect(text).toMatch(/^done +1: /m)
  expect(text).toMatch(/^to decrypt +1 archive, 752 B$/m)
  expect(text).toMatch(/^archived +GLACIER: 1 archive, 752 B, 0 on their way back$/m)
  expect(text).toMatch(/^missing +1: /m)
  expect(text).toMatch(/^not looked at +1: /m)
  expect(text).toMatch(/^no project +999999, of 1 archive: /m)
  expect(text).toMatch(/^requests .*, and 1 restore of 752 B$/m)
  expect(text).toMatch(
    /^hours +5\.0: less than 0\.1 by bytes, for 4 workers of 100MB .* 5\.0 until the last object is back, 1000 at once$/m,
  )
  expect(text).toMatch(/^price +1\.00$/m)
  expect(text).toMatch(/^project 100002 +1 archived \(752 B\)$/m)
  expect(stderr).toMatch(/ERR_STORE_DENIED: project 100003: bucket s3:\/\/no-such-bucket does not exist/)
  expect(code).toBe(1)
  // Nothing was changed, and no password is anywhere.
  expect(await current.client.keys("*")).toEqual([])
  expect(server.operations.count("RestoreObject")).toBe(0)
  expect(text + stderr).not.toContain(PASSWORD.slice(0, 40))
})

test("a manifest in a store, packed or not, is read there, and the plan is JSON", async () => {
  const rows = [await recorded("100001"), await recorded("100001", true)].map((id) => rowOf("100001", id))
  await put("manifests", "2023/all.csv.gz", gzipSync(HEADER + rows.join("")))
  const { code, stdout, stderr } = await plan([urlOf("manifests", "2023/all.csv.gz"), "--json"])
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  expect(JSON.parse(stdout.toString())).toMatchObject({
    ...{ archives: 2, malformed: 0, troubles: [], unconfigured: {} },
    projects: { "100001": { done: 1, fresh: { archives: 1, bytes: 752, reads: 2, writes: 2 } } },
    estimate: { workers: 2, work: { archives: 1 }, looks: 2, hours: { byArchives: null }, cost: null },
  })
  const absent = await plan([urlOf("manifests", "2024.csv")])
  expect(absent).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("has no object 2024.csv: check the URL"),
  })
})

test("the vendor's list of a period is a manifest, for each project that has credentials", async () => {
  const [first, second] = [await recorded("100001"), await recorded("100001")]
  const at = (date: string) => ({ createdAt: Date.parse(date), password: PASSWORD, size: 752 })
  const list = [
    {
      body: {
        count: 4,
        items: [
          listed(second, at("2024-01-01")),
          listed(first, at("2023-06-01")),
          listed(randomUUID(), { ...at("2023-05-01"), password: null }),
          listed(randomUUID(), at("2022-12-31")),
        ],
      },
    },
    { body: { count: 0, items: [] } },
  ]
  vendor.answers = [...list]
  const period = ["--from", "2023-01-01", "--to", "2024-01-01"]
  const { code, stdout } = await plan([...period, "--project", "100001", "--json"])
  expect(code).toBe(0)
  expect(JSON.parse(stdout.toString())).toMatchObject({
    ...{ archives: 1, ignored: { "not-encrypted": 1 } },
    projects: { "100001": { fresh: { archives: 1 } } },
  })
  expect(requests[0]!.url).toContain("/v2/project/100001/archive?")

  // What was planned can be started as well.
  vendor.answers = [...list]
  const start = ["backfill", "start", ...period, "--project", "100001", "--json"]
  const started = await runCli(start, { env })
  expect(JSON.parse(started.stdout.toString())).toMatchObject({ outcome: "started", archives: 1, ignored: 1 })

  vendor.answers = [{ status: 403, body: { message: "Invalid API key or secret" } }]
  const refused = await plan([...period, "--json"])
  expect(refused.code).toBe(1)
  for (const id of ["100001", "100002", GONE]) expect(refused.stderr).toContain(`project ${id}: `)
  // But half a list is not begun.
  expect(await runCli(start, { env })).toMatchObject({ code: 1, stdout: Buffer.alloc(0) })
})

test("what can't be planned is refused with a remedy", async () => {
  const path = join(directory, "a.csv")
  await writeFile(path, HEADER)
  await writeFile(join(directory, "cut.gz"), gzipSync(HEADER).subarray(0, 20))
  const refusals: [string[], RegExp][] = [
    [[], /what is the manifest\? give files/],
    [["--from", "2023-01-02", "--to", "2023-01-01"], /ends before it begins/],
    [[join(directory, "cut.gz")], /cut\.gz/],
    [[path, "--workers", "0"], /number of workers must be more than 0/],
  ]
  for (const [args, words] of refusals) {
    const { code, stderr } = await plan(args)
    expect(stderr).toMatch(words)
    expect(stderr).not.toMatch(/^ +at /m)
    expect(code).toBe(2)
  }
}, 120_000)
