import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { openSubmission, submissionFiles } from "./submission-files.ts"

const folder = await mkdtemp(join(tmpdir(), "unseal-submission-"))
afterAll(() => rm(folder, { recursive: true }))

it("gives files in the order of the arguments, and a folder's files by name, subfolders included", async () => {
  await mkdir(join(folder, "years/2024"), { recursive: true })
  for (const name of ["b.json", "a.csv", ".hidden", "years/2024/c.ndjson", "years/empty"])
    await writeFile(join(folder, name), name === "years/empty" ? "" : "12345")
  await symlink(folder, join(folder, "years/loop"))
  await symlink(join(folder, "a.csv"), join(folder, "years/link.csv"))
  // Nobody writes to it: reading it would never end.
  execFileSync("mkfifo", [join(folder, "years/pipe")])
  const files = await submissionFiles([join(folder, "b.json"), folder, "-"])
  expect(files).toEqual([
    { path: join(folder, "b.json"), size: 5, isFound: false },
    { path: join(folder, "a.csv"), size: 5, isFound: true },
    { path: join(folder, "b.json"), size: 5, isFound: true },
    { path: join(folder, "years/2024/c.ndjson"), size: 5, isFound: true },
    { path: join(folder, "years/empty"), size: 0, isFound: true },
    { path: join(folder, "years/link.csv"), size: 5, isFound: true },
    { path: "-", size: null, isFound: false },
  ])
  expect(await submissionFiles([join(folder, "years/pipe")])).toMatchObject([{ size: null }])
})

it("opens a file and a pipe, until the signal", async () => {
  const { signal } = new AbortController()
  const file = { path: join(folder, "a.csv"), size: 5, isFound: true }
  expect(Buffer.concat(await Array.fromAsync(openSubmission(file, signal))).toString()).toBe("12345")
  const stopped = new AbortController()
  const pipe = openSubmission(
    { path: join(folder, "years/pipe"), size: null, isFound: false },
    stopped.signal,
  )
  const reading = Array.fromAsync(pipe)
  stopped.abort(new Error("stopped"))
  await expect(reading).rejects.toThrow("stopped")
})

it("says which path is wrong", async () => {
  const path = join(folder, "none")
  const message = `${path} does not exist: check the path`
  await expect(submissionFiles([path])).rejects.toThrow(message)
  const opened = openSubmission({ path, size: 1, isFound: false }, new AbortController().signal)
  await expect(Array.fromAsync(opened)).rejects.toThrow(message)
})
