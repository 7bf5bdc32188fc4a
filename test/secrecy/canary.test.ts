/**
 * Known secrets are sent through the whole system, in success and in every failure, and then looked for in everything that
 * it wrote, answered, stored and still holds in memory. What may be found, and where, is the list in `ALLOWED`.
 */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { PROJECT_ID } from "../harness/system.ts"
import { searchMemory } from "./process-memory.ts"
import {
  cli,
  collector,
  committed,
  held,
  live,
  logged,
  MIB,
  processes,
  runThroughEverything,
  said,
  search,
  signal,
  stopAll,
  system,
  temporary,
  until,
} from "./run.ts"

beforeAll(runThroughEverything)
afterAll(stopAll)

/** Where a secret may be found, by the beginning of its name, and why. Nothing else may be anywhere. */
const ALLOWED: Record<string, Record<string, string>> = {
  "redis: job data": {
    "encrypted password": "it is what the queue holds: without the private key it opens nothing",
  },
  "memory of ingest": {
    "signature secret": "each callback is verified with it",
    "encrypted password": "it has passed through as JSON, whose strings nobody can wipe",
  },
  "memory of ingest by token": {
    "callback token": "each callback is compared with it",
    "encrypted password": "as above",
  },
  "memory of worker": {
    "private key": "it unwraps passwords; OpenSSL holds its numbers as long as the key is in the ring",
    "encrypted password": "it comes out of the job as JSON, whose strings nobody can wipe",
    "S3 secret key": "each request is signed with it, and it is in the environment",
  },
}

/** What of `labels` is not allowed at `place`. */
const leaks = (place: string, labels: readonly string[]) =>
  labels.filter((label) => !Object.keys(ALLOWED[place] ?? {}).some((name) => label.startsWith(name)))

/** Every file below `directory`, by its path. */
async function filesBelow(directory: string): Promise<[string, Buffer][]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Promise.all(paths.map(async (path): Promise<[string, Buffer]> => [path, await readFile(path)]))
}

/** Which of `things` have leaked, and where. */
const leaked = (place: string, things: readonly (readonly [string, string | Buffer])[]) =>
  things.flatMap(([name, bytes]) =>
    leaks(place, search(Buffer.from(bytes as string))).map((leak) => `${name}: ${leak}`),
  )

/** The hashes of all jobs, by key. */
async function jobs(): Promise<[string, Record<string, string>][]> {
  const keys = await system.client.keys("{unseal}:*")
  const types = await Promise.all(keys.map((key) => system.client.type(key)))
  const hashes = keys.filter((_, index) => types[index] === "hash")
  return Promise.all(
    hashes.map(
      async (key): Promise<[string, Record<string, string>]> => [key, await system.client.hgetall(key)],
    ),
  )
}

describe("after success, failure, retries, hand-back and kill, no secret is", () => {
  it("in what the processes and commands said, or in what ingest answered", () => {
    const lines = processes.flatMap(([name, app]): [string, string][] => [
      ...app.log.map((line): [string, string] => [name, JSON.stringify(line)]),
      [`${name}, stderr`, app.stderr()],
    ])
    expect(lines.length).toBeGreaterThan(30)
    expect(leaked("words", [...lines, ...said])).toEqual([])
  })

  it("in the traces, and neither is a key of an object, a path or a query", () => {
    const outcomes = new Set(collector.spans.map(({ attributes }) => attributes["unseal.outcome"]))
    expect([...outcomes]).toEqual(
      expect.arrayContaining(["committed", "dead-letter", "suspended", "enqueued"]),
    )
    expect(
      leaked(
        "traces",
        collector.bodies.map((body, index) => [`request ${index}`, body]),
      ),
    ).toEqual([])
    expect(collector.bodies.join()).not.toMatch(/archive\.ts|by-hand|X-Amz|uploadId|s3:\/\//)
  })

  it("in the metrics", async () => {
    for (const [name, app] of live()) {
      const metrics = await (await fetch(`http://127.0.0.1:${app.ports.admin}/metrics`)).text()
      expect(metrics).toContain("unseal_build_info")
      expect(leaked("metrics", [[name, metrics]])).toEqual([])
    }
  })

  it("in a job, except in its data, which holds the encrypted password; failure reasons and stack traces among them", async () => {
    // Of each kind of dead letter there is one again, once the redriven one has failed anew.
    // Those that were held are committed, or dead letters too: by then others have succeeded three times where they failed.
    const wasHeld = (key: string) => held.some(([, { archiveId }]) => key.includes(archiveId))
    const failed = async () =>
      (await jobs()).filter(
        ([key, hash]) => !wasHeld(key) && hash.failedReason !== undefined && hash.finishedOn !== undefined,
      )
    await until("six dead letters", async () => (await failed()).length >= 6)
    const codes = (await failed()).map(([, hash]) => hash.failedReason!.split(":")[0])
    expect(new Set(codes)).toEqual(
      new Set([
        ...["ERR_NOT_MPEG_TS", "ERR_PASSWORD_INVALID", "ERR_CIPHERTEXT_INVALID"],
        ...["ERR_DIGEST_MISMATCH", "ERR_DESTINATION_EXISTS", "ERR_NO_MATCHING_KEY"],
      ]),
    )
    const fields = (await jobs()).flatMap(([key, hash]) =>
      Object.entries(hash).map(([name, value]) => [key, name, value] as const),
    )
    const outside = fields
      .filter(([, name]) => name !== "data")
      .map(([key, name, value]) => [`${key} ${name}`, value] as const)
    expect(leaked("redis", outside)).toEqual([])
    const data = fields.filter(([, name]) => name === "data").map(([key, , value]) => [key, value] as const)
    expect(leaked("redis: job data", data)).toEqual([])
    // A finished archive no longer needs its password.
    const done = new Set(await system.client.zrange("{unseal}:unseal:completed", 0, "-1"))
    expect(done.size).toBeGreaterThan(0)
    for (const [key, value] of data) {
      const found = search(Buffer.from(value))
      if (done.has(key.slice("{unseal}:unseal:".length))) expect(found, key).toEqual([])
      else expect(found.length, key).toBeGreaterThan(0)
    }
  })

  it("in the files of Redis: its dump, and the append-only file with every command so far", async () => {
    await system.client.save()
    const files = await filesBelow(system.redis.servers[0]!.directory)
    expect(files.map(([path]) => path).join()).toMatch(/\.rdb.*\.aof|\.aof.*\.rdb/)
    expect(files.some(([, bytes]) => search(bytes).some((label) => label.startsWith("encrypted")))).toBe(true)
    expect(leaked("redis: job data", files)).toEqual([])
  })

  it("in a record or in another object at the destination, nor in a temporary file", async () => {
    const objects: [string, Buffer][] = []
    for (const { archiveId } of committed)
      for (const name of ["archive.ts", "archive.json"]) {
        const object = (await system.destination.stat(`${PROJECT_ID}/${archiveId}/${name}`, signal))!
        objects.push([name, Buffer.from(JSON.stringify(object.metadata))])
        objects.push([name, Buffer.from(await readSmallObject(system.destination, object, 64 * MIB, signal))])
      }
    expect(objects.length).toBe(4 * committed.length)
    expect(leaked("destination", objects)).toEqual([])
    expect(leaked("temporary files", await filesBelow(temporary))).toEqual([])
  })

  it.runIf(process.platform === "linux")(
    "in the memory of an idle process, except what it works with",
    async () => {
      // Whoever decrypts holds a content key: what is suspended is probed again and again until its trouble ends.
      system.s3.faults.clear()
      expect(await cli(["queue", "resume"])).toMatchObject({ code: 0 })
      // One that failed often enough while others succeeded was at fault itself, and is a dead letter by now.
      const ended = ["archive committed", "archive is a dead letter"]
      for (const [, archive] of held)
        await until("the end of an archive that was held", () =>
          ended.some((message) => logged(message, archive)),
        )
      const found: [string, string[]][] = []
      for (const [name, app] of live())
        found.push([name, leaks(`memory of ${name}`, await searchMemory(app.pid, search))])
      expect(found).toEqual(live().map(([name]) => [name, []]))
    },
    120_000,
  )
})
