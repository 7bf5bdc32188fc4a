import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createLogger } from "../log/logger.ts"
import { createRegistry, type Registry } from "../metrics.ts"
import { ConfigurationError } from "../settings/configuration-error.ts"
import type { IngestProject } from "./projects.ts"
import { openProjects, type ReloadingProjects } from "./reloading.ts"

const INTERVAL_MS = 20
const SETTLE_MS = 200

let directory: string
let registry: Registry
let lines: Record<string, unknown>[]
let close: () => Promise<void>

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-reload-"))
  registry = createRegistry()
  lines = []
  close = async () => {}
})
afterEach(async () => {
  await close()
  rmSync(directory, { recursive: true, force: true })
})

const path = (name: string) => join(directory, name)
const write = (name: string, content: string) => writeFileSync(path(name), content)
const project = (id: number, secret = "secret") => `  - { id: ${id}, signatureSecretFile: ${secret} }\n`
const configured = (...items: string[]) => write("projects.yaml", `projects:\n${items.join("")}`)

function open(file = path("projects.yaml")): ReloadingProjects<IngestProject> {
  const projects = openProjects({
    ...{ for: "ingest", env: { UNSEAL_PROJECTS_FILE: file } },
    check: (all) => (all.some(({ id }) => id === "666") ? ["project 666 is not wanted"] : []),
  })
  const logger = createLogger("test", "info", { write: (line) => lines.push(JSON.parse(line)) })
  close = projects.watch({ logger, registry, intervalMs: INTERVAL_MS, settleMs: SETTLE_MS }).close
  return projects
}

const soon = <T>(what: () => T) => expect.poll(what, { timeout: 20_000, interval: 10 })
const sample = async (name: string) =>
  Number(
    (await registry.metrics())
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")[1],
  )

test("a new project, another secret and a removed project are noticed without a restart", async () => {
  write("secret", "one that is long enough")
  write("other", "two that is long enough")
  configured(project(1))
  const projects = open()
  expect(projects.ids).toEqual(["1"])
  const before = projects.ids
  configured(project(1), project(2, "other"))
  await soon(() => projects.ids).toEqual(["1", "2"])
  expect(before).toEqual(["1"])
  expect(projects.get("2")?.signatureSecrets).toEqual(["two that is long enough"])

  write("other", "three that is long enough")
  await soon(() => projects.get("2")?.signatureSecrets).toEqual(["three that is long enough"])
  configured(project(2, "other"))
  await soon(() => projects.get("1")).toBeUndefined()
  await soon(() => lines.filter(({ msg }) => msg === "projects reloaded")).toMatchObject([
    { added: ["2"], removed: [], changed: [] },
    { added: [], removed: [], changed: ["2"] },
    { added: [], removed: ["1"], changed: [] },
  ])
  expect(JSON.stringify(lines)).not.toMatch(/one|two|three/)
  expect(await sample('unseal_projects_reloads_total{outcome="taken"}')).toBe(3)
})

test("a bad file keeps the projects, reports every problem once, and is a metric until it is fixed", async () => {
  write("secret", "one that is long enough")
  configured(project(1))
  const projects = open()
  configured(
    "  - { id: 2, signatureSecretFile: absent }\n",
    "  - { id: nobody, signatureSecretFile: secret }\n",
  )
  const problems = () =>
    lines.filter(({ msg }) => msg === "projects file can't be used: the projects stay as they were")
  await soon(problems).toHaveLength(2)
  expect(problems().map(({ problem }) => problem)).toEqual([
    expect.stringContaining("absent can't be read (ENOENT)"),
    expect.stringContaining("projects[1].id must be an OpenTok API key"),
  ])
  expect(projects.ids).toEqual(["1"])
  expect(await sample("unseal_projects_file_invalid")).toBe(1)
  await sleep(5 * INTERVAL_MS)
  expect(problems()).toHaveLength(2)
  expect(await sample('unseal_projects_reloads_total{outcome="invalid"}')).toBe(1)

  // The missing file may be the only thing wrong.
  configured("  - { id: 2, signatureSecretFile: absent }\n")
  await soon(() => problems().length).toBe(3)
  write("absent", "two that is long enough")
  await soon(() => projects.ids).toEqual(["2"])
  expect(await sample("unseal_projects_file_invalid")).toBe(0)
})

test("the process refuses at a change what it refuses at the start", async () => {
  write("secret", "one that is long enough")
  configured(project(666))
  expect(() => open()).toThrow(new ConfigurationError(["project 666 is not wanted"]))
  configured(project(1))
  const projects = open()
  configured(project(1), project(666))
  await soon(() => lines).toMatchObject([{ problem: "project 666 is not wanted" }])
  expect(projects.ids).toEqual(["1"])
})

test("a swapped symbolic link is a change, as Kubernetes makes it", async () => {
  for (const [version, id] of Object.entries({ v1: 1, v2: 2 })) {
    mkdirSync(path(version))
    write(`${version}/secret`, "one that is long enough")
    write(`${version}/projects.yaml`, `projects:\n${project(id)}`)
    utimesSync(path(`${version}/projects.yaml`), 1_000, 1_000)
  }
  symlinkSync("v1", path("..data"))
  symlinkSync("..data/projects.yaml", path("projects.yaml"))
  symlinkSync("..data/secret", path("secret"))
  const projects = open()
  expect(projects.ids).toEqual(["1"])
  symlinkSync("v2", path("..data_tmp"))
  renameSync(path("..data_tmp"), path("..data"))
  await soon(() => projects.ids).toEqual(["2"])
})

test("a list cut between two projects while it is written is not applied", async () => {
  write("secret", "one that is long enough")
  configured(project(1), project(2))
  const projects = open()
  await sleep(2 * SETTLE_MS)
  const whole = `projects:\n${project(1)}${project(2)}${project(3)}`
  // Like a slow writer: each state stays for several looks, none for as long as it takes to settle.
  for (let end = whole.indexOf(project(2)); end < whole.length; end += 12) {
    write("projects.yaml", whole.slice(0, end))
    await sleep(SETTLE_MS / 4)
    expect(projects.ids).toEqual(["1", "2"])
  }
  write("projects.yaml", whole)
  await soon(() => projects.ids).toEqual(["1", "2", "3"])
  expect(lines.map(({ msg }) => msg)).toEqual(["projects reloaded"])
})

test("a half-written secret is not applied, nor one of a new file", async () => {
  write("secret", "the secret of before")
  configured(project(1))
  const projects = open()
  await sleep(2 * SETTLE_MS)
  const secret = "the secret of from now on"
  for (let end = 17; end < secret.length; end++) {
    write("secret", secret.slice(0, end))
    await sleep(SETTLE_MS / 4)
    expect(projects.get("1")?.signatureSecrets).toEqual(["the secret of before"])
  }
  write("secret", secret)
  await soon(() => projects.get("1")?.signatureSecrets).toEqual([secret])

  write("new", secret.slice(0, 17))
  configured(project(1), project(2, "new"))
  await soon(() => projects.get("2") ?? lines.length).toBeDefined()
  for (let end = 18; end <= secret.length; end++) {
    write("new", secret.slice(0, end))
    await sleep(SETTLE_MS / 4)
  }
  await soon(() => projects.get("2")?.signatureSecrets).toEqual([secret])
  expect(lines.filter(({ msg }) => msg === "projects reloaded")).toHaveLength(2)
})

test("a removed project is remembered for some minutes, or until it is back", async () => {
  write("secret", "one that is long enough")
  configured(project(1), project(2))
  const projects = open()
  expect(projects.wasRemoved("2")).toBe(false)
  configured(project(1))
  await soon(() => projects.get("2")).toBeUndefined()
  expect([projects.wasRemoved("2"), projects.wasRemoved("1"), projects.wasRemoved("3")]).toEqual([
    true,
    false,
    false,
  ])
  configured(project(1), project(2))
  await soon(() => projects.wasRemoved("2")).toBe(false)
})

test("a file that is gone, or touched without a change, changes nothing", async () => {
  write("secret", "one that is long enough")
  configured(project(1))
  const projects = open()
  utimesSync(path("projects.yaml"), 5_000, 5_000)
  await sleep(5 * INTERVAL_MS)
  expect(lines).toEqual([])
  unlinkSync(path("projects.yaml"))
  await soon(() => sample("unseal_projects_file_invalid")).toBe(1)
  expect(projects.ids).toEqual(["1"])
})

test("a requested look finds a new project at once, whatever the interval", async () => {
  write("secret", "the secret of all")
  configured(project(100))
  const projects = openProjects({ for: "ingest", env: { UNSEAL_PROJECTS_FILE: path("projects.yaml") } })
  const logger = createLogger("test", "silent")
  close = projects.watch({ logger, registry, intervalMs: 3_600_000, settleMs: SETTLE_MS }).close
  configured(project(100), project(200))
  expect(projects.get("200")).toBeUndefined()
  await projects.refresh()
  expect(projects.get("200")?.id).toBe("200")
})

test("a change of any of thousands of secrets is noticed, of the first and the last, too", async () => {
  const ids = Array.from({ length: 2_000 }, (_, index) => 1_000 + index)
  for (const id of ids) write(`s${id}`, "one that is long enough")
  configured(...ids.map((id) => project(id, `s${id}`)))
  const projects = open()
  for (const id of [1_000, 1_999, 2_999]) {
    write(`s${id}`, "another that is long enough")
    await soon(() => projects.get(String(id))?.signatureSecrets).toEqual(["another that is long enough"])
  }
  expect(projects.get("1002")?.signatureSecrets).toEqual(["one that is long enough"])
})
