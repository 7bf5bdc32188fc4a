import { X509Certificate } from "node:crypto"
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry } from "@unseal/service/metrics"
import { afterEach, beforeEach, expect, test } from "vitest"
import { readConfig } from "../config.ts"
import { openProjectResources, type ProjectResources } from "../run/project-resources.ts"
import { createKeyMetrics } from "./metrics.ts"

const vector = (name: string, file: string) =>
  fileURLToPath(new URL(`../../../../test/vectors/${name}/${file}`, import.meta.url))

let directory: string
let resources: ProjectResources
let scrape: () => Promise<string[]>
let now: number

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-key-metrics-"))
  for (const name of ["a", "b"]) await mkdir(join(directory, name))
  await setUp({ 1: "a", 2: "b", 3: "b" })
})

/** Projects by id, each with the directory of its keys. */
async function setUp(keys: Readonly<Record<string, string>>): Promise<void> {
  const stores = { source: `file://${directory}/in`, destination: `file://${directory}/out` }
  await Promise.all(["in", "out"].map((name) => mkdir(join(directory, name), { recursive: true })))
  await writeFile(
    join(directory, "projects.json"),
    JSON.stringify({ projects: Object.entries(keys).map(([id, keys]) => ({ id, ...stores, keys })) }),
  )
  const config = readConfig({ UNSEAL_PROJECTS_FILE: join(directory, "projects.json") })
  const logger = createLogger("worker", "silent")
  resources = openProjectResources({
    config,
    budget: createByteBudget(1),
    logger,
    onRetry() {},
    notices: () => () => {},
  })
  const registry = createRegistry()
  now = Date.now()
  createKeyMetrics(registry, config.projects, resources, () => now)
  scrape = async () =>
    (await registry.metrics()).split("\n").filter((line) => /^unseal_(certificate|key)/.test(line))
}
afterEach(async () => {
  await resources.close()
  await rm(directory, { recursive: true, force: true })
})

/** Opens the keys, as an archive of the project does. */
const need = async (projectId: string) =>
  (await resources.of({ projectId, archiveId: "00000000-0000-4000-8000-000000000000" })).release()

const place = (name: string, file: string, at: string) => copyFile(vector(name, file), join(directory, at))

test("a scrape shows the current expiry dates of the keys' certificates", async () => {
  await need("1")
  expect((await scrape()).filter((line) => line.startsWith("unseal_certificate"))).toEqual([])
  await place("openssl-zero", "key.pem", "a/key.pem")
  await place("openssl-zero", "cert.pem", "a/cert.pem")
  // Another certificate, whose key is not here.
  await place("openssl-pkcs7", "cert.pem", "a/other.pem")
  const certificate = new X509Certificate(await readFile(vector("openssl-zero", "cert.pem")))
  const left = () => (certificate.validToDate.getTime() - now) / 1_000
  const [line, ...more] = (await scrape()).filter((text) => text.startsWith("unseal_certificate"))
  expect(more).toEqual([])
  expect(line).toMatch(/^unseal_certificate_expiry_seconds\{key_id="[0-9a-f]{64}"\} /)
  expect(Number(line!.split(" ")[1])).toBeCloseTo(left(), 2)

  now = certificate.validToDate.getTime() + 5_000
  expect((await scrape())[0]).toMatch(/ -5$/)
  await rm(join(directory, "a/key.pem"))
  expect((await scrape()).filter((text) => text.startsWith("unseal_certificate"))).toEqual([])
})

test("an unusable key file is counted for each project that needs it, until it is fixed", async () => {
  await place("openssl-passphrase", "key.pem", "b/key.pem")
  for (const id of ["1", "2"]) await need(id)
  const unusable = async () => (await scrape()).filter((line) => line.startsWith("unseal_key_files"))
  expect((await unusable()).sort()).toEqual([
    'unseal_key_files_unusable{project="1"} 0',
    'unseal_key_files_unusable{project="2"} 1',
    'unseal_key_files_unusable{project="3"} 1',
  ])
  await writeFile(join(directory, "b/key.passphrase"), "correct-horse\n")
  expect(await unusable()).toContain('unseal_key_files_unusable{project="2"} 0')
  await rm(join(directory, "a"), { recursive: true })
  // A directory that can't be read has no number: its project is suspended with its next archive.
  expect((await unusable()).join()).not.toContain('project="1"')
  await mkdir(join(directory, "a"))
  expect(await unusable()).toContain('unseal_key_files_unusable{project="1"} 0')
})

test("a scrape opens no keys, however often it runs", async () => {
  await place("openssl-passphrase", "key.pem", "b/key.pem")
  for (let each = 0; each < 3; each++) expect(await scrape()).toEqual([])
  await need("3")
  expect((await scrape()).sort()).toEqual([
    'unseal_key_files_unusable{project="2"} 1',
    'unseal_key_files_unusable{project="3"} 1',
  ])
})

test("a scrape looks at fifty of many open keys, the longest unseen ones first", async () => {
  const ids = Array.from({ length: 120 }, (_, index) => String(index + 1))
  await resources.close()
  await setUp(Object.fromEntries(ids.map((id) => [id, `k${id}`])))
  for (const id of ids) await mkdir(join(directory, `k${id}`))
  for (const id of ids) await need(id)
  expect(await scrape()).toHaveLength(120)
  for (const id of ids) await writeFile(join(directory, `k${id}`, "key.pem"), "no key")
  const found = async () => (await scrape()).filter((line) => line.endsWith(" 1")).length
  expect(await found()).toBe(50)
  expect(await found()).toBe(100)
  expect(await found()).toBe(120)
  expect(await scrape()).toHaveLength(120)
})
