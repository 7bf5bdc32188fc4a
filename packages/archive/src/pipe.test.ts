import { execFileSync } from "node:child_process"
import { createReadStream } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { openPipeToWrite } from "./pipe.ts"

describe.runIf(process.platform === "linux")("a pipe that is written to", () => {
  let directory: string
  let pipe: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-pipe-"))
    pipe = join(directory, "pipe")
    execFileSync("mkfifo", [pipe])
  })
  afterAll(() => rm(directory, { recursive: true }))

  test("is waited for until the signal is aborted", async () => {
    const enough = new AbortController()
    const opening = openPipeToWrite(pipe, enough.signal)
    setTimeout(() => enough.abort(new Error("enough")), 150)
    await expect(opening).rejects.toThrow("enough")
  })

  test("accepts what is written as soon as somebody reads", async () => {
    const opening = openPipeToWrite(pipe, AbortSignal.timeout(60_000))
    const read = text(createReadStream(pipe))
    const output = await opening
    output.end("all of it")
    expect(await read).toBe("all of it")
  })
})
