/** `unseal decrypt` and `unseal janitor` on Azure, where an earlier run, or another program, has left staged blocks. */
import { spawn } from "node:child_process"
import { randomUUID, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { crc32 } from "node:zlib"
import { openStore } from "@unseal/archive/store/open"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startFaultyProxy } from "../../harness/network/faulty-proxy.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { runCli } from "../../harness/process.ts"
import { type RedisServer, startRedis } from "../../harness/redis/redis.ts"
import { createRawContainer, type RawContainer } from "../../harness/stores/azure-rest.ts"
import { type Azurite, startAzurite } from "../../harness/stores/azurite.ts"
import { PROJECT_ID } from "../../harness/system.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
const MAIN = resolve(import.meta.dirname, "../../../apps/cli/bin/unseal.mjs")
const file = (name: string) => join(VECTOR, name)
const MIB = 1024 * 1024
const signal = AbortSignal.timeout(600_000)

let azurite: Azurite
let redis: RedisServer
let recordings: RawContainer
let decrypted: RawContainer
let env: Record<string, string>
/** Takes several blocks. */
let archive: { password: string; plaintext: Buffer }

beforeAll(async () => {
  ;[azurite, redis] = await Promise.all([startAzurite(), startRedis()])
  recordings = await createRawContainer(azurite, "recordings")
  decrypted = await createRawContainer(azurite, "decrypted")
  env = { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString }
  const { publicKey } = new X509Certificate(await readFile(file("cert.pem")))
  const sample = await readFile(join(VECTOR, "../audio-only-12s.mpegts"))
  const recording = makeRecording({ sample, publicKey, size: 188 * 4 * 32_000, exact: true, tail: "none" })
  const ciphertext = Buffer.concat([...recording.ciphertext])
  await recordings.put("archive.ts", ciphertext)
  const { encryptedPassword: password } = recording
  const local = await runCli([...["decrypt", "-", "-", "--key", file("key.pem"), "--password", password]], {
    input: ciphertext,
  })
  archive = { password, plaintext: local.stdout }
})
afterAll(async () => {
  await redis?.close()
  await azurite?.close()
})

const urlOf = (container: string, key = "", endpoint = azurite.url) =>
  `azure://${container}${key && `/${key}`}?${new URLSearchParams({ account: azurite.account, endpoint })}`
const decryptTo = (key: string) => [
  ...["decrypt", urlOf("recordings", "archive.ts"), urlOf("decrypted", key)],
  ...["--password", archive.password, "--key", file("key.pem")],
]

test("a killed run leaves only invisible blocks, and the next one to that name is whole", async () => {
  const proxy = await startFaultyProxy(azurite.url)
  // The commit never succeeds, so the command is killed with every block staged.
  let commits = 0
  proxy.fault(async (exchange) => {
    if (exchange.url.includes("comp=blocklist") && exchange.method === "PUT") commits++
    else exchange.respond(await exchange.forward())
  })
  const [command, source, , ...rest] = decryptTo("killed.ts")
  const destination = urlOf("decrypted", "killed.ts", `${proxy.url}/${azurite.account}`)
  const child = spawn(process.execPath, [MAIN, command!, source!, destination, ...rest], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  })
  await expect.poll(() => commits, { timeout: 60_000 }).toBeGreaterThan(0)
  child.kill("SIGKILL")
  await once(child, "exit")
  await proxy.close()
  expect(await decrypted.uncommitted()).toEqual(["killed.ts"])
  const { code, stderr } = await runCli(decryptTo("killed.ts"), { env })
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("to azure://") })
  expect(archive.plaintext.equals((await decrypted.get("killed.ts"))!.bytes)).toBe(true)
  expect(await decrypted.uncommitted()).toEqual([])
})

test("an error names another program's staged blocks, how long they stay, and what to do", async () => {
  await decrypted.stage("foreign.ts", "short", Buffer.alloc(16))
  const { code, stderr } = await runCli(decryptTo("foreign.ts"), { env })
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/ERR_DESTINATION_EXISTS: .*another program's staged blocks.*week/s),
  })
  expect(stderr).not.toMatch(/--overwrite/)
  // They are not ours to remove.
  expect(await decrypted.staged("foreign.ts")).toEqual(["short"])
  await decrypted.put("foreign.ts", Buffer.alloc(1))
})

test("the janitor removes what no job owns, and leaves another program's blocks", async () => {
  const store = poisoned(await openStore(urlOf("decrypted"), { env }))
  const key = `${PROJECT_ID}/${randomUUID()}/archive.ts`
  const create = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  const writer = await store.create(key, 20 * MIB, create, signal)
  const part = Buffer.alloc(writer.partSize)
  await writer.writePart(1, [part], crc32(part), signal)
  await store.close()
  await decrypted.stage(`${PROJECT_ID}/theirs.ts`, "short", Buffer.alloc(16))
  const janitor = async (...args: string[]) => {
    const result = await runCli(["janitor", "--json", ...args], {
      env: {
        ...{ ...env, REDIS_URL: redis.url, UNSEAL_PROJECT_ID: PROJECT_ID },
        UNSEAL_DESTINATION: urlOf("decrypted"),
      },
    })
    expect(result).toMatchObject({ code: 0 })
    return JSON.parse(result.stdout.toString()).stores[0]
  }
  expect(await janitor()).toMatchObject({ young: 1, aborted: [] })
  const aborted = { aborted: [{ key, startedAt: expect.any(String) }] }
  await expect
    .poll(() => janitor("--older-than", "1s", "--dry-run"), { timeout: 30_000, interval: 300 })
    .toMatchObject(aborted)
  expect(await janitor("--older-than", "1s")).toMatchObject(aborted)
  expect(await decrypted.uncommitted()).toEqual([`${PROJECT_ID}/theirs.ts`])
})

test("the doctor looks at a container as a worker would, and names what is wrong with it", async () => {
  const doctor = async (source: string, more: Record<string, string> = {}) => {
    const places = {
      UNSEAL_SOURCE: urlOf(source),
      UNSEAL_DESTINATION: urlOf("decrypted"),
      UNSEAL_KEYS: VECTOR,
    }
    const { stdout } = await runCli(["doctor"], {
      env: { ...env, ...places, REDIS_URL: redis.url, UNSEAL_PROJECT_ID: PROJECT_ID, ...more },
    })
    return stdout.toString()
  }
  const well = await doctor("recordings")
  expect(well).toMatch(new RegExp(`^ok +${PROJECT_ID} source +azure://recordings answers`, "m"))
  expect(well).toMatch(/^ok .* destination +azure:\/\/decrypted answers .*the upload found and aborted$/m)
  expect(await doctor("nothing")).toMatch(
    /^failed .* source +ERR_STORE_DENIED: .*the container does not exist .*\n.*create the container/m,
  )
})
