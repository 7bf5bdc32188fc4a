/** `unseal doctor` as an operator runs it: on a system that is well, and on projects each of which is broken in its own way. */
import { execFileSync } from "node:child_process"
import { appendFile, chmod, cp, mkdir, readFile, writeFile } from "node:fs/promises"
import { createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { openKeyRing } from "@unseal/archive/keys/open"
import { openStore } from "@unseal/archive/store/open"
import { type Check, type DoctorAccess, examine } from "@unseal/operations/doctor/doctor"
import type { WorkerProject } from "@unseal/service/projects/projects"
import { createRecordingCloud } from "@unseal/simulator/cloud"
import { startRestServer } from "@unseal/simulator/rest/server"
import { afterAll, beforeAll, expect, test } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { as } from "../../harness/stores/policies.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { startWorkerSystem, type WorkerSystem } from "../../harness/worker-system.ts"

const API_SECRET = "api-secret-of-the-doctor"
const SIGNATURE_SECRET = "signature-secret-of-the-doctor-and-its-32-characters"

const QUIET = { stdio: "ignore" } as const

let system: WorkerSystem
let rest: Awaited<ReturnType<typeof startRestServer>>
let silent: Server
const sockets = new Set<Socket>()
let well: Record<string, unknown>

beforeAll(async () => {
  system = await startWorkerSystem({ policies: true })
  const certificate = join(system.directory, "cert.pem")
  // A system that is well has its certificate beside the key, and lets nobody else read it.
  await cp(certificate, join(system.directory, "keys/cert.pem"))
  await chmod(system.keyFile, 0o400)
  const cloud = createRecordingCloud({
    certificate: await readFile(certificate, "utf8"),
    ...{ store: system.source, projectId: PROJECT_ID },
  })
  rest = await startRestServer({
    projectId: PROJECT_ID,
    credentials: { scheme: "opentok", apiSecret: API_SECRET },
    cloud,
  })
  silent = createServer((socket) => sockets.add(socket))
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))
  await writeFile(join(system.directory, "signature"), SIGNATURE_SECRET)
  await writeFile(join(system.directory, "api"), API_SECRET)
  await writeFile(join(system.directory, "wrong-api"), "wrong")
  await appendFile(
    join(system.directory, "credentials"),
    "\n[stranger]\naws_access_key_id = AKIASTRANGER\naws_secret_access_key = of-a-stranger\n",
  )
  well = {
    ...{ id: PROJECT_ID, apiUrl: rest.url, keys: join(system.directory, "keys") },
    ...{
      signatureSecretFile: join(system.directory, "signature"),
      apiSecretFile: join(system.directory, "api"),
    },
    ...{ source: system.env.UNSEAL_SOURCE, destination: system.env.UNSEAL_DESTINATION },
  }
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  silent.close()
  await rest.close()
  await system.close()
})

async function doctor(
  projects: readonly object[],
  args: readonly string[] = [],
  env: Record<string, string> = {},
) {
  const file = join(system.directory, "projects.json")
  await writeFile(file, JSON.stringify({ projects }))
  const none = { UNSEAL_PROJECT_ID: "", UNSEAL_SOURCE: "", UNSEAL_DESTINATION: "", UNSEAL_KEYS: "" }
  const result = await system.cli(["doctor", ...args], { ...none, UNSEAL_PROJECTS_FILE: file, ...env })
  const stdout = result.stdout.toString()
  for (const secret of [API_SECRET, SIGNATURE_SECRET, "of-a-stranger", "unseal-source-secret-key"])
    expect(stdout + result.stderr).not.toContain(secret)
  return { ...result, stdout }
}

const checksOf = (stdout: string) => (JSON.parse(stdout) as { healthy: boolean; checks: Check[] }).checks

test("a system that is well is all ok, exits with 0, and is left as it was", async () => {
  const { code, stdout, stderr } = await doctor([well])
  expect({ code, stderr, stdout }).toEqual({ code: 0, stderr: "", stdout: expect.any(String) })
  expect(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.slice(0, 32).trimEnd()),
  ).toEqual([
    "ok          settings of worker",
    "ok          settings of ingest",
    "ok          redis",
    "ok          redis durability",
    "ok          redis memory",
    "ok          redis replicas",
    "ok          clock",
    "ok          123456 source",
    "ok          123456 destination",
    "ok          123456 keys",
    "ok          123456 certificates",
    "ok          123456 vendor",
    "0 checks failed, 0 warnings, 12",
  ])
  expect(system.s3.openUploads()).toEqual([])
  expect(await Array.fromAsync(system.destination.openUploads(AbortSignal.timeout(10_000)))).toEqual([])
  expect(await system.client.keys("*")).toEqual(["{unseal}:written"])
})

test("each project's trouble is its own: what was seen, and whose move it is", async () => {
  const expired = join(system.directory, "expired")
  const locked = join(system.directory, "locked")
  for (const path of [expired, locked]) await mkdir(path)
  execFileSync(
    "openssl",
    [
      ...["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old", "-days", "1"],
      ...["-keyout", join(expired, "old.pem"), "-out", join(expired, "old-cert.pem")],
    ],
    QUIET,
  )
  execFileSync(
    "openssl",
    [
      "rsa",
      "-aes256",
      "-passout",
      "pass:lost",
      "-in",
      join(expired, "old.pem"),
      "-out",
      join(locked, "a.pem"),
    ],
    QUIET,
  )
  const S = system.env.UNSEAL_SOURCE!
  const D = system.env.UNSEAL_DESTINATION!
  const of = (id: number, more: object) => ({
    ...{ ...well, id: String(id), apiSecretFile: undefined, apiUrl: undefined },
    ...more,
  })
  const projects = [
    well,
    of(1, { source: S.replace("profile=source", "profile=stranger") }),
    of(2, { destination: as("reconcile", D) }),
    of(3, { keys: expired }),
    of(4, { keys: locked }),
    of(5, { keys: join(system.directory, "nowhere") }),
    of(6, { source: S.replace("recordings", "no-such-bucket") }),
    of(7, { apiSecretFile: join(system.directory, "wrong-api"), apiUrl: rest.url }),
  ]
  const { code, stdout } = await doctor(projects, ["--json", "--for", "worker"])
  expect(code).toBe(1)
  const checks = checksOf(stdout)
  const bad = checks.filter(({ status }) => status === "failed" || status === "warning")
  const told = Object.fromEntries(
    bad.map(({ projectId, name, status, seen, moves }) => [
      `${projectId} ${name}`,
      [status, seen, ...moves.map(({ whose, what }) => `${whose}: ${what}`)].join(" | "),
    ]),
  )
  expect(told).toEqual({
    "1 source": expect.stringMatching(
      /^failed \| ERR_STORE_DENIED: .*InvalidAccessKeyId.* \| store: check the access key id/,
    ),
    "2 destination": expect.stringMatching(
      /^failed \| .*ERR_STORE_DENIED: CreateMultipartUpload .* \| store: .*s3:PutObject/,
    ),
    "3 certificates": expect.stringMatching(
      /^warning \| the certificate of old.* expires on .*, in 0 days \| operator: register a new certificate/,
    ),
    "4 keys": expect.stringMatching(/^failed \| .*holds no usable key.*a\.pem.*passphrase.* \| operator: /),
    "5 keys": expect.stringMatching(
      /^failed \| ERR_KEY_SERVICE_UNAVAILABLE: .*nowhere.*ENOENT \| operator: /,
    ),
    "6 source": expect.stringMatching(/^failed \| ERR_STORE_DENIED: .*no-such-bucket.* \| store: /),
    "7 vendor": expect.stringMatching(
      /^failed \| ERR_STORE_DENIED: .*\(403\).* \| operator: check the project id/,
    ),
  })
  expect(checks.filter(({ projectId }) => projectId === PROJECT_ID).map(({ status }) => status)).toEqual(
    Array.from({ length: 5 }, () => "ok"),
  )
}, 120_000)

test("settings that a process refuses are reported all at once; what can be used is looked at, and the exit code is 2", async () => {
  const broken = { ...well, id: "2", source: "ftp://elsewhere" }
  const { code, stdout } = await doctor([well, broken], ["--json"], {
    UNSEAL_CONCURENCY: "3",
    UNSEAL_LOCK_MS: "soon",
  })
  expect(code).toBe(2)
  const [worker, ingest, ...rest] = checksOf(stdout)
  expect(worker).toMatchObject({ name: "settings of worker", status: "failed" })
  expect(worker!.seen).toMatch(/UNSEAL_CONCURENCY.*did you mean UNSEAL_CONCURRENCY/)
  expect(worker!.seen).toMatch(/UNSEAL_LOCK_MS must be/)
  expect(worker!.seen).toMatch(/source.*ftp/)
  expect(ingest).toMatchObject({ name: "settings of ingest", status: "failed" })
  expect(rest.map(({ name, projectId, status }) => [projectId, name, status])).toContainEqual([
    PROJECT_ID,
    "source",
    "ok",
  ])
  expect(rest.every(({ status }) => status === "ok")).toBe(true)
})

test("it looks at one project or one process if told to, and refuses an unknown one", async () => {
  const only = await doctor([well, { ...well, id: "2" }], ["--json", "--project", "2"])
  expect(new Set(checksOf(only.stdout).map(({ projectId }) => projectId))).toEqual(new Set([undefined, "2"]))
  const ingest = await doctor([well], ["--json", "--for", "ingest"])
  expect(checksOf(ingest.stdout).map(({ name }) => name)).toEqual([
    ...["settings of ingest", "redis", "redis durability", "redis memory", "redis replicas", "clock"],
  ])
  const unknown = await doctor([well], ["--project", "99"])
  expect(unknown).toMatchObject({
    code: 2,
    stderr: `unseal: there is no project 99: the projects are ${PROJECT_ID}\n`,
  })
  const away = await doctor([well], ["--for", "ingest"], { REDIS_URL: "redis://:geheim@127.0.0.1:1" })
  expect(away.code).toBe(1)
  expect(away.stdout).toMatch(/failed +redis +redis did not answer.*ECONNREFUSED/)
  expect(away.stdout).not.toContain("geheim")
}, 60_000)

test("a store that takes connections and never answers ends its check in time, and holds up no other project", async () => {
  const { port } = silent.address() as { port: number }
  const url = system.env
    .UNSEAL_SOURCE!.replace(/endpoint=[^&]*/, `endpoint=http://127.0.0.1:${port}`)
    .replace(/&profile=\w+/, "")
  const projectOf = (id: string, source: string) =>
    ({
      ...well,
      id,
      source,
      sourceKeys: ["{archiveId}.ts"],
      destinationKey: "{archiveId}.ts",
    }) as unknown as WorkerProject
  const access: DoctorAccess = {
    connectRedis: () => Promise.reject(new Error("not asked")),
    openStore: async (asked) => poisoned(await openStore(asked, { env: {} })),
    openKeyRing: (location) => openKeyRing(location),
    openVendor: () => "not asked",
  }
  const directory = pathToFileURL(system.directory).href
  const projects = [projectOf("1", url), projectOf("2", directory)].map((project) => ({
    ...project,
    destination: directory,
  }))
  const looked = await Array.fromAsync(
    examine(access, { redis: null, projects, limitMs: 1_500 }, AbortSignal.timeout(60_000)),
  )
  expect(looked.find(({ projectId, name }) => projectId === "1" && name === "source")).toMatchObject({
    status: "failed",
    seen: "no answer within 1500 ms",
    moves: [{ whose: "store", what: expect.stringContaining("see why the store does not answer") }],
  })
  expect(looked.filter(({ projectId, status }) => projectId === "2" && status === "failed")).toEqual([])
})
