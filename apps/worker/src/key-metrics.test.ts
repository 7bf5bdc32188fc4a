import { X509Certificate } from "node:crypto"
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { createByteBudget } from "@unseal/archive/budget"
import { createLogger } from "@unseal/service/logger"
import { createRegistry } from "@unseal/service/metrics"
import { afterEach, beforeEach, expect, test } from "vitest"
import { readConfig } from "./config.ts"
import { createKeyMetrics } from "./key-metrics.ts"
import { openPlaces, type Places } from "./places.ts"

const vector = (name: string, file: string) =>
  fileURLToPath(new URL(`../../../test/vectors/${name}/${file}`, import.meta.url))

let directory: string
let places: Places
let scrape: () => Promise<string[]>
let now: number

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-key-metrics-"))
  for (const name of ["a", "b"]) await mkdir(join(directory, name))
  const project = (id: number, keys: string) => ({
    id,
    source: "file:///in",
    destination: "file:///out",
    keysDir: keys,
  })
  await writeFile(
    join(directory, "projects.json"),
    JSON.stringify({ projects: [project(1, "a"), project(2, "b"), project(3, "b")] }),
  )
  const config = readConfig({ UNSEAL_PROJECTS_FILE: join(directory, "projects.json") })
  const logger = createLogger("worker", "silent")
  places = openPlaces({ config, budget: createByteBudget(1), logger, onRetry() {}, notices: () => () => {} })
  const registry = createRegistry()
  now = Date.now()
  createKeyMetrics(registry, config.projects, places, () => now)
  scrape = async () =>
    (await registry.metrics()).split("\n").filter((line) => /^unseal_(certificate|key)/.test(line))
})
afterEach(async () => {
  await places.close()
  await rm(directory, { recursive: true, force: true })
})

const place = (name: string, file: string, at: string) => copyFile(vector(name, file), join(directory, at))

test("a scrape shows until when the certificates of the keys are valid, as they are now", async () => {
  expect((await scrape()).filter((line) => line.startsWith("unseal_certificate"))).toEqual([])
  await place("openssl-zero", "key.pem", "a/key.pem")
  await place("openssl-zero", "cert.pem", "a/cert.pem")
  // Another's certificate, whose key is not here.
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

test("a key file that can't be used is counted for each project that needs it, until it is mended", async () => {
  await place("openssl-passphrase", "key.pem", "b/key.pem")
  const unusable = async () => (await scrape()).filter((line) => line.startsWith("unseal_key_files"))
  expect((await unusable()).sort()).toEqual([
    'unseal_key_files_unusable{project="1"} 0',
    'unseal_key_files_unusable{project="2"} 1',
    'unseal_key_files_unusable{project="3"} 1',
  ])
  await writeFile(join(directory, "b/key.passphrase"), "correct-horse\n")
  expect(await unusable()).toContain('unseal_key_files_unusable{project="2"} 0')
  await rm(join(directory, "a"), { recursive: true })
  // A directory that can't be read has no number; readiness tells why.
  expect((await unusable()).join()).not.toContain('project="1"')
})
