/** `unseal submit` with many lines, on a real Redis. */
import { randomBytes, randomUUID } from "node:crypto"
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { countersKey, queueKey } from "@unseal/queue/names"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest"
import { type RedisServer, startRedis } from "../../../../test/harness/redis/redis.ts"
import { readQueueSettings } from "../config.ts"
import { connectQueue } from "./connection.ts"
import { submitCommand } from "./submit.ts"
import type { SubmitOptions } from "./submit-many.ts"

let server: RedisServer
let folder: string
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "unseal-submit-"))
  vi.stubEnv("REDIS_URL", server.url)
  vi.stubEnv("UNSEAL_QUEUE", `submit-${randomUUID().slice(0, 8)}`)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})

const PASSWORD = randomBytes(256).toString("base64")
const callback = (fields: object = {}) =>
  JSON.stringify({
    ...{ id: randomUUID(), event: "archive", status: "uploaded", partnerId: 123456, password: PASSWORD },
    ...fields,
  })
const callbacks = (count: number) => Array.from({ length: count }, () => callback())

async function file(name: string, content: string | Buffer | string[]): Promise<string> {
  const path = join(folder, name)
  const isText = typeof content === "string" || Buffer.isBuffer(content)
  await writeFile(path, isText ? content : `${content.join("\n")}\n`)
  return path
}

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly error?: Error
}

async function run(
  paths: readonly string[],
  options: SubmitOptions = {},
  signal = new AbortController().signal,
): Promise<Ran> {
  let [stdout, stderr] = ["", ""]
  const out = vi.spyOn(process.stdout, "write").mockImplementation((text: string | Uint8Array) => {
    stdout += text
    return true
  })
  const err = vi.spyOn(process.stderr, "write").mockImplementation((text: string | Uint8Array) => {
    stderr += text
    return true
  })
  const before = process.exitCode
  process.exitCode = 0
  try {
    await submitCommand(paths, options, signal)
    return { code: Number(process.exitCode), stdout, stderr }
  } catch (error) {
    return { code: -1, stdout, stderr, error: error as Error }
  } finally {
    process.exitCode = before
    out.mockRestore()
    err.mockRestore()
    expect(stdout + stderr).not.toContain(PASSWORD.slice(0, 20))
  }
}

const counts = ({ stdout }: Ran) =>
  Object.fromEntries([...stdout.matchAll(/^(\w+) +(\d+)/gm)].map(([, name, count]) => [name, Number(count)]))

async function lanesInQueue(): Promise<string[]> {
  const client = await connectQueue(readQueueSettings(), new AbortController().signal)
  try {
    const key = (name: string) => queueKey(process.env.UNSEAL_QUEUE!, name)
    const ids = await client.zrange(key("prioritized"), "0", "-1")
    const data = await Promise.all(ids.map((id) => client.hget(key(String(id)), "data")))
    return data.map((text) => JSON.parse(text!).lane ?? "live")
  } finally {
    client.disconnect()
  }
}

test("a single callback is live, and its output is one line", async () => {
  const path = await file("one.json", callback())
  const first = await run([path])
  expect(first).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^enqueued 123456_\S+\n$/),
    stderr: "",
  })
  expect((await run([path])).stdout).toMatch(/^duplicate 123456_\S+: waiting since 20\S+\n$/)
  expect(await lanesInQueue()).toEqual(["live"])
  await run([await file("two.json", callback())], { lane: "bulk" })
  expect((await lanesInQueue()).sort()).toEqual(["bulk", "live"])
})

test("many callbacks are bulk, from files and folders of every form, and a second run enqueues nothing", async () => {
  await mkdir(join(folder, "years/2024"), { recursive: true })
  await mkdir(join(folder, "years/notes"), { recursive: true })
  const lines = callbacks(300)
  const paths = [await file("a.ndjson", lines.slice(0, 100)), join(folder, "years")]
  await file("years/2024/b.json.gz", gzipSync(`[${lines.slice(100, 200).join(",")}]`))
  await file("years/c.csv", [
    "\ufeffarchiveId,projectId,password",
    ...lines.slice(200).map((line) => `${JSON.parse(line).id},123456,"${PASSWORD}"\r`),
  ])
  await file("years/notes/readme.md", "# Callbacks\n\nof 2024\n")
  await file("years/notes/recording.ts", Buffer.concat([Buffer.from([0x47, 0, 0]), randomBytes(1_000)]))
  const first = await run(paths)
  expect(first.code).toBe(0)
  expect(counts(first)).toEqual({ enqueued: 300, duplicate: 0, done: 0, ignored: 1, refused: 0 })
  expect(first.stdout).toMatch(/^enqueued +300 {2}into the bulk lane$/m)
  expect(first.stdout).toMatch(/^ignored +1 {2}1 no-callback$/m)
  expect(first.stderr).toMatch(/left out: \S+readme\.md holds no callback in 1 line/)
  expect(first.stderr).toMatch(/left out: \S+recording\.ts is not text/)
  expect(new Set(await lanesInQueue())).toEqual(new Set(["bulk"]))
  const second = await run(paths)
  expect(counts(second)).toMatchObject({ enqueued: 0, duplicate: 300 })
})

test("a dry run says what would happen to each line, and prints the counts as JSON", async () => {
  const lines = callbacks(2)
  const path = await file("a.ndjson", [...lines, lines[0]!, callback({ status: "started" }), '{"id":1'])
  const dry = await run([path], { dryRun: true })
  expect(dry.code).toBe(1)
  expect(dry.stdout.split("\n").slice(0, 5)).toEqual([
    expect.stringMatching(/a\.ndjson, line 1: would be enqueued as 123456_/),
    expect.stringMatching(/line 2: would be enqueued/),
    expect.stringMatching(/line 3: duplicate of an earlier line/),
    expect.stringMatching(/line 4: ignored: not-uploaded/),
    expect.stringMatching(/line 5: refused: it is not JSON/),
  ])
  expect(dry.stdout).toMatch(/^to enqueue +2/m)
  expect(await lanesInQueue()).toEqual([])
  const json = await run([path], { dryRun: true, json: true })
  const [first, , , , last, sum] = json.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
  expect(first).toEqual({
    ...{ file: path, line: 1, projectId: "123456", archiveId: JSON.parse(lines[0]!).id },
    ...{ outcome: "enqueued", jobId: expect.stringContaining("123456_") },
  })
  expect(last).toMatchObject({ line: 5, outcome: "refused", reason: "it is not JSON" })
  expect(sum).toEqual({
    ...{ dryRun: true, lane: "bulk", lines: 5, enqueued: 2, duplicate: 1, done: 0, ignored: 1, refused: 1 },
  })
})

test("refused lines go to a file that only its owner may read, which is corrected and submitted", async () => {
  const good = callback()
  const bad = callback({ size: "much" })
  const one = await file("a.ndjson", [good, bad])
  const id = randomUUID()
  const two = await file("b.csv", ["archiveId,projectId,password,size", `${id},123456,${PASSWORD},1e3`])
  const three = await file("c.json", `[${JSON.stringify(JSON.parse(callback({ id: "x" })), null, 2)}]`)
  const four = await file("d.log", [`INFO ${callback({ size: -1 })}`])
  const rejects = join(folder, "rejects.txt")
  const first = await run([one, two, three, four], { rejects })
  expect(first.code).toBe(1)
  expect(counts(first)).toMatchObject({ enqueued: 1, refused: 4 })
  expect(first.stderr).toMatch(/b\.csv, line 2: refused: size must be a whole number of bytes/)
  expect(first.stderr).toContain(`4 lines were refused, and kept in ${rejects}: correct and submit them`)
  expect((await stat(rejects)).mode & 0o777).toBe(0o600)
  const kept = await readFile(rejects, "utf8")
  const comments = kept.split("\n").filter((line) => line.startsWith("# "))
  expect(comments).toHaveLength(4)
  expect(comments.join()).not.toContain(PASSWORD.slice(0, 20))
  expect(kept).toContain(`\n${bad}\n`)

  const mended = await file(
    "mended.txt",
    // Ids and passwords are random, so they may contain "1e3" or "-1" as well.
    kept
      .replace('"much"', "5")
      .replace(",1e3", ",1000")
      .replace('"size":-1', '"size":1')
      .replace('"x"', `"${randomUUID()}"`),
  )
  const second = await run([mended])
  expect(second).toMatchObject({ code: 0, stderr: "" })
  expect(counts(second)).toMatchObject({ enqueued: 4, refused: 0 })
  const none = join(folder, "none.txt")
  expect(await run([mended], { rejects: none })).toMatchObject({ code: 0 })
  await expect(stat(none)).rejects.toMatchObject({ code: "ENOENT" })
  expect(await run([one], { rejects })).toMatchObject({
    error: { name: "UsageError", message: expect.stringContaining("exists already, and is not replaced") },
  })
})

test("without a file for them, refused lines are reported, up to a limit", async () => {
  const path = await file("a.ndjson", [
    callback(),
    ...Array.from({ length: 50 }, () => callback({ id: "x" })),
  ])
  const { stderr, code } = await run([path])
  expect(code).toBe(1)
  expect(stderr.match(/, line \d+: refused/g)).toHaveLength(10)
  expect(stderr).toContain("50 lines were refused: --rejects FILE keeps them")
})

test("mistakes are reported, and the other files are submitted", async () => {
  const whole = gzipSync(callbacks(500).join("\n"))
  const paths = [
    await file("half.gz", whole.subarray(0, whole.length >> 1)),
    await file("empty.json", ""),
    await file("notes.txt", "nothing here\n"),
    await file("typo.csv", ["archiveId,projectId,pasword", `${randomUUID()},1,${PASSWORD}`]),
    await file("key.pem", "-----BEGIN PRIVATE KEY-----\n"),
    await file("good.json", callbacks(2)),
  ]
  const { code, stderr, stdout } = await run(paths)
  expect(code).toBe(1)
  expect(stderr).toMatch(/half\.gz ends in the middle of its gzip/)
  expect(stderr).toMatch(/empty\.json is empty: is it the right file\?/)
  expect(stderr).toMatch(/notes\.txt holds no callback in 1 line: is it the right file\?/)
  expect(stderr).toMatch(/typo\.csv has a column "pasword": did you mean "password"\?/)
  expect(stderr).toMatch(/key\.pem is a key or a certificate/)
  expect(Number(/^enqueued +(\d+)/m.exec(stdout)![1])).toBeGreaterThanOrEqual(2)
  expect((await run([join(folder, "none.json")])).error?.message).toMatch(/none\.json does not exist/)
  await mkdir(join(folder, "bare"))
  const bare = await run([join(folder, "bare")])
  expect(bare).toMatchObject({ code: 1, stderr: expect.stringContaining("is it the right folder?") })
})

test.skipIf(process.getuid?.() === 0)("a file that may not be read does not keep the others", async () => {
  const closed = await file("closed.json", callbacks(2))
  await chmod(closed, 0)
  const { code, stderr, stdout } = await run([closed, await file("open.json", callbacks(2))])
  expect({ code, stdout }).toMatchObject({ code: 1, stdout: expect.stringMatching(/^enqueued +2/) })
  expect(stderr).toMatch(/closed\.json can't be read by this user/)
})

test("lines of other projects are left alone", async () => {
  const path = await file("a.ndjson", [
    callback(),
    callback({ partnerId: 777 }),
    callback({ partnerId: undefined }),
  ])
  expect(counts(await run([path], { project: "123456" }))).toMatchObject({ enqueued: 2, ignored: 1 })
  expect(await run([path], { project: "888" })).toMatchObject({ code: 0 })
  const others = await file("b.ndjson", [callback({ partnerId: 777 }), callback({ partnerId: 777 })])
  expect(await run([others], { project: "123456" })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("all archives belong to other projects than 123456: give --project ID"),
  })
  await file("keys", "")
  vi.stubEnv(
    "UNSEAL_PROJECTS_FILE",
    await file(
      "projects.json",
      JSON.stringify({ projects: [{ id: "123456", source: "file:///s", destination: `file://${folder}` }] }),
    ),
  )
  const known = await run([others])
  expect(known).toMatchObject({ code: 1, stderr: expect.stringContaining("its project is not configured") })
  expect(await run([others], { project: "999" })).toMatchObject({ error: { name: "UsageError" } })
})

test("a destination that can't be looked at is reported once, and the lines are enqueued", async () => {
  vi.stubEnv("UNSEAL_PROJECT_ID", "123456")
  vi.stubEnv("UNSEAL_SOURCE", "file:///source")
  vi.stubEnv("UNSEAL_DESTINATION", `file://${join(folder, "missing")}`)
  const path = await file("a.ndjson", callbacks(3))
  const first = await run([path])
  expect(counts(first)).toMatchObject({ enqueued: 3 })
  expect(first.stderr.match(/can't be looked at/g) ?? []).toHaveLength(1)
  expect((await run([await file("b.ndjson", callbacks(3))], { look: false })).stderr).toBe("")
})

test("when interrupted, it says where it stopped, and the next run continues there", async () => {
  const path = await file("a.ndjson", callbacks(5_000))
  const stopped = new AbortController()
  const running = run([path], { json: true }, stopped.signal)
  const client = await connectQueue(readQueueSettings(), new AbortController().signal)
  await expect
    .poll(() => client.hget(countersKey(process.env.UNSEAL_QUEUE!), "accepted").then(Number), {
      timeout: 60_000,
      interval: 5,
    })
    .toBeGreaterThan(0)
  stopped.abort(new Error("interrupted by SIGINT"))
  const { error, stderr, stdout } = await running
  client.disconnect()
  expect(error?.message).toBe("interrupted by SIGINT")
  const [, line] = /stopped after \S+a\.ndjson, line (\d+): submit the same input again/.exec(stderr)!
  const sum = JSON.parse(stdout.trim().split("\n").at(-1)!)
  expect(sum).toMatchObject({ lines: Number(line), enqueued: Number(line) })
  expect(Number(line)).toBeLessThan(5_000)
  const next = counts(await run([path]))
  expect(next.duplicate).toBeGreaterThanOrEqual(Number(line))
  expect(next.enqueued! + next.duplicate!).toBe(5_000)
})
