/** One run of the whole system with known secrets: success, every failure, retries, hand-back and kill. */
import { createCipheriv, createPrivateKey, randomBytes, randomUUID, X509Certificate } from "node:crypto"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { signCallback } from "@unseal/simulator/callbacks/send"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import type { FaultAction } from "@unseal/simulator/s3/faults/plan"
import { expect } from "vitest"
import { type OtlpReceiver, startOtlpReceiver } from "../harness/otlp-receiver.ts"
import { type AppProcess, type CliResult, startApp } from "../harness/process.ts"
import { DESTINATION_NAME, S3_CREDENTIAL, SOURCE_NAME } from "../harness/stores.ts"
import { PROJECT_ID } from "../harness/system.ts"
import { startWorkerSystem, type WorkerSystem } from "../harness/worker-system.ts"
import { createSearcher, type Searcher } from "./searcher.ts"

export const MIB = 1024 * 1024
export const signal = AbortSignal.timeout(600_000)

const contentKey = randomBytes(32)
const iv = randomBytes(16)
const signatureSecret = randomBytes(32).toString("base64url")
const callbackToken = randomBytes(24).toString("base64url")
const passphrase = randomBytes(18).toString("base64url")

export let system: WorkerSystem
export let collector: OtlpReceiver
/** The processes' folder for temporary files. */
export let temporary: string
let publicKey: X509Certificate["publicKey"]
export let search: Searcher
let ingest: AppProcess
let ingestByToken: AppProcess
let worker: AppProcess
export const committed: Archive[] = []
export let held: [string, Archive, FaultAction][] = []
export const live = (): [string, AppProcess][] => [
  ["ingest", ingest],
  ["ingest by token", ingestByToken],
  ["worker", worker],
]
/** Everything that was said, and who said it. */
export const said: [string, string | Buffer][] = []
export const processes: [string, AppProcess][] = []
const wrapped: string[] = []

function transportStream(size: number): Buffer {
  const stream = randomBytes(size)
  for (let at = 0; at < size; at += 188) stream[at] = 0x47
  return stream
}

interface Archive {
  readonly archiveId: string
  readonly encryptedPassword: string
}

/** An archive under the known content key at the source, unless `change` makes another one of it. */
async function record(
  size: number,
  change: { key?: Buffer; password?: Uint8Array; cut?: number; wrapped?: string } = {},
): Promise<Archive> {
  const archiveId = randomUUID()
  const plaintext = transportStream(size)
  const cipher = createCipheriv("aes-256-cbc", change.key ?? contentKey, iv).setAutoPadding(false)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const password = change.password ?? encodePassword({ key: contentKey, iv })
  const encryptedPassword = change.wrapped ?? wrapPassword(password, publicKey)
  wrapped.push(encryptedPassword)
  const key = `${PROJECT_ID}/${archiveId}/archive.ts`
  await writeSmallObject(
    system.source,
    key,
    ciphertext.subarray(0, size - (change.cut ?? 0)),
    "video/mp2t",
    signal,
  )
  return { archiveId, encryptedPassword }
}

const bodyOf = ({ archiveId, encryptedPassword }: Archive, more: object = {}) =>
  JSON.stringify({
    ...{ id: archiveId, event: "archive", status: "uploaded", partnerId: Number(PROJECT_ID) },
    ...{ password: encryptedPassword, ...more },
  })

/** POSTs to `to`, and keeps the answer. */
async function post(to: AppProcess, path: string, body: string, authorization?: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${to.ports.http}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(authorization && { authorization }) },
    body,
  })
  said.push([`answer to ${path}`, JSON.stringify([...response.headers]) + (await response.text())])
  return response.status
}

async function callBack(archive: Archive, more: object = {}): Promise<void> {
  const body = bodyOf(archive, more)
  const authorization = `Bearer ${await signCallback(body, signatureSecret)}`
  expect(await post(ingest, `/callbacks/${PROJECT_ID}`, body, authorization)).toBe(202)
}

export async function cli(args: string[]): Promise<CliResult> {
  const result = await system.cli(args, { TMPDIR: temporary })
  said.push([`unseal ${args[0]}`, result.stderr], [`unseal ${args[0]}`, result.stdout])
  return result
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await holds()); await sleep(100))
    if (Date.now() > deadline)
      throw new Error(`${what} did not come:\n${JSON.stringify(worker.log.slice(-20), null, 1)}`)
}

export const logged = (msg: string, archive: Archive, code?: string) =>
  processes.some(([, { log }]) =>
    log.some(
      (line) =>
        line.msg === msg &&
        line.archiveId === archive.archiveId &&
        (code === undefined || line.code === code),
    ),
  )

async function start(
  name: "ingest" | "worker",
  label: string,
  env: Record<string, string>,
): Promise<AppProcess> {
  const app = await startApp(name, {
    env: {
      REDIS_URL: system.redis.url,
      UNSEAL_HOST: "127.0.0.1",
      UNSEAL_ADMIN_PORT: "0",
      TMPDIR: temporary,
      ...collector.env,
      ...env,
    },
  })
  processes.push([label, app])
  return app
}

/** Sends the secrets through the system. Afterwards everything that this file exports is set. */
export async function runThroughEverything(): Promise<void> {
  system = await startWorkerSystem()
  collector = await startOtlpReceiver()
  temporary = join(system.directory, "temporary")
  const keys = join(system.directory, "protected-keys")
  for (const path of [temporary, keys]) await mkdir(path)
  const [certificateFile, keyFile] = [join(keys, "certificate.pem"), join(keys, "key.pem")]
  await createCertificate({ certificateFile, keyFile }, { passphrase })
  await writeFile(join(keys, "key.passphrase"), `${passphrase}\n`)
  publicKey = new X509Certificate(await readFile(certificateFile)).publicKey
  // What is compressed in the dump could not be found there.
  await system.client.config("SET", "rdbcompression", "no")

  const project = { UNSEAL_PROJECT_ID: PROJECT_ID, UNSEAL_PORT: "0" }
  ingest = await start("ingest", "ingest", { ...project, UNSEAL_SIGNATURE_SECRET: signatureSecret })
  ingestByToken = await start("ingest", "ingest by token", {
    ...{ ...project, UNSEAL_CALLBACK_AUTH: "token", UNSEAL_CALLBACK_TOKEN: callbackToken },
  })
  const startWorker = () =>
    start("worker", "worker", {
      ...system.env,
      ...{ UNSEAL_KEYS: keys, UNSEAL_ATTEMPTS: "2", UNSEAL_ANNOUNCED_DIGEST: "require" },
      ...{ UNSEAL_LOCK_MS: "2000", UNSEAL_STALL_CHECK_MS: "500", LOG_LEVEL: "debug" },
      ...{ UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "4" },
    })
  worker = await startWorker()

  // Dead letters, one of each kind that an archive can become.
  const dead: [string, Archive, object?][] = [
    ["ERR_NOT_MPEG_TS", await record(64_000, { key: randomBytes(32) })],
    [
      "ERR_PASSWORD_INVALID",
      await record(64_000, { password: Buffer.concat([Buffer.from([1, 2, 1]), contentKey, iv]) }),
    ],
    ["ERR_CIPHERTEXT_INVALID", await record(64_000, { cut: 3 })],
    ["ERR_DIGEST_MISMATCH", await record(64_000), { sha256sum: randomBytes(32).toString("base64") }],
    ["ERR_DESTINATION_EXISTS", await record(64_000)],
    ["ERR_NO_MATCHING_KEY", await record(64_000, { wrapped: randomBytes(256).toString("base64") })],
  ]
  // What suspends the project, for a while.
  held = [
    ["ERR_STORE_UNAVAILABLE", await record(64_000), { status: 500 }],
    ["ERR_STORE_DENIED", await record(64_000), { status: 403, code: "AccessDenied" }],
  ]
  const keyOf = ({ archiveId }: Archive) => `${PROJECT_ID}/${archiveId}/archive.ts`
  await writeSmallObject(system.destination, keyOf(dead[4]![1]), Buffer.from("other"), "video/mp2t", signal)
  for (const [, archive, action] of held)
    system.s3.faults.add({ operation: "PutObject", key: keyOf(archive), times: 1_000, action })
  for (const [, archive, more] of dead) await callBack(archive, more)
  for (const [, archive] of held) await callBack(archive)

  // Callbacks that are refused, for every reason.
  const good = await record(64_000)
  const body = bodyOf(good)
  const path = `/callbacks/${PROJECT_ID}`
  expect(await post(ingest, path, body)).toBe(503)
  expect(await post(ingest, path, body, `Bearer ${await signCallback(body, "another")}`)).toBe(401)
  expect(await post(ingest, path, body, `Bearer ${await signCallback("{}", signatureSecret)}`)).toBe(401)
  const broken = bodyOf(good, { id: 7 })
  expect(await post(ingest, path, broken, `Bearer ${await signCallback(broken, signatureSecret)}`)).toBe(400)
  expect(await post(ingestByToken, `${path}/wrong`, body)).toBe(401)
  expect(await post(ingestByToken, `${path}/${callbackToken}`, body.slice(0, -9))).toBe(400)

  // Success by each way in.
  expect(await post(ingestByToken, `${path}/${callbackToken}`, body)).toBe(202)
  expect(await post(ingestByToken, `${path}/${callbackToken}`, body)).toBe(200)
  const submitted = await record(6 * MIB)
  const [callbackFile, passwordFile] = [
    join(system.directory, "callback.json"),
    join(system.directory, "password"),
  ]
  await writeFile(callbackFile, bodyOf(submitted))
  await writeFile(passwordFile, submitted.encryptedPassword)
  expect(await cli(["submit", callbackFile])).toMatchObject({ code: 0 })
  for (const archive of [good, submitted])
    await until("a committed archive", () => logged("archive committed", archive))

  const keyOptions = ["--key", keyFile, "--passphrase-file", join(keys, "key.passphrase")]
  const at = (bucket: string, name: string) =>
    `s3://${bucket}/${name}?${new URL(system.env.UNSEAL_SOURCE!).searchParams}`
  const sourceUrl = at(SOURCE_NAME, `${PROJECT_ID}/${submitted.archiveId}/archive.ts`)
  const decrypt = ["decrypt", sourceUrl, at(DESTINATION_NAME, "by-hand.ts"), "--password-file", passwordFile]
  expect(await cli([...decrypt, ...keyOptions, "--json"])).toMatchObject({ code: 0 })
  const refused = [
    cli([...decrypt, ...keyOptions]),
    cli([...decrypt, "--key", keyFile]),
    cli(["inspect", "--password", randomBytes(256).toString("base64"), ...keyOptions]),
  ]
  expect((await Promise.all(refused)).map(({ code }) => code).every((code) => code !== 0)).toBe(true)
  expect(await cli(["inspect", "--callback", callbackFile, ...keyOptions])).toMatchObject({ code: 0 })

  // A worker that is killed, one that hands its archive back, and one that ends it.
  const slow = await record(11 * MIB)
  const throttle = () =>
    system.s3.faults.add({
      operation: "UploadPart",
      times: 1_000,
      action: { throttleBytesPerSecond: MIB },
    })
  let fault = throttle()
  await callBack(slow)
  await until("a part on its way", () => fault.hits > 0)
  worker.kill("SIGKILL")
  await worker.exited
  fault.remove()
  fault = throttle()
  worker = await startWorker()
  await until("the archive begun again", () => fault.hits > 0)
  expect(await worker.stop()).toBe(0)
  fault.remove()
  worker = await startWorker()
  await until("the slow archive", () => logged("archive committed", slow))

  committed.push(good, submitted, slow)
  for (const [code, archive] of dead)
    await until(code, () => logged("archive is a dead letter", archive, code))
  for (const [code, archive] of held)
    await until(code, () => logged("archive waits: its project is suspended", archive, code))
  expect(await cli(["queue", "resume"])).toMatchObject({ code: 0 })
  expect(await cli(["queue", "dead-letters", "--json"])).toMatchObject({ code: 0 })
  expect(await cli(["queue", "redrive", "--code", "ERR_NOT_MPEG_TS"])).toMatchObject({ code: 0 })
  expect(await cli(["queue", "status"])).toMatchObject({ code: 0 })

  const { d, p, q } = createPrivateKey({ key: await readFile(keyFile), passphrase }).export({ format: "jwk" })
  search = createSearcher([
    { name: "content key", bytes: contentKey },
    { name: "IV", bytes: iv },
    ...Object.entries({ d, p, q }).map(([name, number]) => ({
      name: `private key, ${name}`,
      bytes: Buffer.from(number!, "base64url"),
    })),
    ...wrapped.map((text, index) => ({
      name: `encrypted password ${index}`,
      bytes: Buffer.from(text, "base64"),
    })),
    { name: "signature secret", bytes: Buffer.from(signatureSecret) },
    { name: "callback token", bytes: Buffer.from(callbackToken) },
    { name: "S3 secret key", bytes: Buffer.from(S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY) },
    { name: "passphrase", bytes: Buffer.from(passphrase) },
  ])
}

export async function stopAll(): Promise<void> {
  for (const [, app] of processes) await app.stop()
  await system?.close()
  await collector?.close()
}
