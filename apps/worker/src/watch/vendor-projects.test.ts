import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { openVendorProjects } from "./vendor-projects.ts"

let directory: string
let file: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-vendors-"))
  file = join(directory, "projects.json")
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function write(secret: string): Promise<void> {
  await writeFile(join(directory, "secret"), secret)
  await writeFile(file, JSON.stringify({ projects: [{ id: "123456", apiSecretFile: "secret" }] }))
}
const secretOf = (vendors: ReturnType<typeof openVendorProjects>) =>
  JSON.stringify(vendors.get("123456")?.credentials)

function open(clock = { now: 0 }) {
  const worker = { ids: ["123456"] as readonly string[] }
  const vendors = openVendorProjects(worker, { UNSEAL_PROJECTS_FILE: file }, () => clock.now)
  return { worker, vendors }
}

test("an archive reads no file, but a change of the worker's projects does", async () => {
  await write("first")
  const { worker, vendors } = open()
  await write("second")
  expect(secretOf(vendors)).toContain("first")
  worker.ids = [...worker.ids]
  expect(secretOf(vendors)).toContain("second")
})

test("a refused secret is read again, at most once a minute", async () => {
  await write("first")
  const clock = { now: 0 }
  const { vendors } = open(clock)
  await write("second")
  vendors.refused()
  clock.now = 59_000
  expect(secretOf(vendors)).toContain("first")
  clock.now = 61_000
  expect(secretOf(vendors)).toContain("second")
  await write("third")
  clock.now = 200_000
  expect(secretOf(vendors)).toContain("second")
})

test("a file that is being edited changes nothing, and is reported", async () => {
  await write("first")
  const { worker, vendors } = open()
  const told: unknown[] = []
  vendors.onInvalid((error) => told.push(error))
  await writeFile(file, '{"projects": [{"id": "1234')
  worker.ids = [...worker.ids]
  expect(secretOf(vendors)).toContain("first")
  expect(told).toHaveLength(1)
})
