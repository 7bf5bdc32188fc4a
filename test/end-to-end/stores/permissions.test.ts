/**
 * The printed policies of docs/permissions.md, on a server that enforces them: they suffice, and without any one permission
 * something fails with a message that names it.
 */
import { randomUUID } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { recordKeyOf } from "@unseal/archive/record/record"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { readAccounts } from "@unseal/queue/accounting"
import { createRecordingCloud, type RecordingCloud } from "@unseal/simulator/cloud"
import { startRestServer } from "@unseal/simulator/rest/server"
import type { AppProcess, CliResult } from "../../harness/process.ts"
import {
  as,
  credentialOf,
  printedActions,
  printedPolicies,
  userOf,
  without,
} from "../../harness/stores/policies.ts"
import { SOURCE_NAME } from "../../harness/stores.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { testWith } from "../../harness/worker-test.ts"

const printed = printedActions()
const MIB = 1024 * 1024
const SOON = { timeout: 60_000, interval: 100 }
const WORKER = {
  ...{ UNSEAL_PART_SIZE_BYTES: String(5 * MIB), UNSEAL_PARTS_IN_FLIGHT: "2" },
  UNSEAL_ANNOUNCED_DIGEST: "require",
}
const SMALL = 188 * 1000
const SEVERAL = 22 * MIB + 16
const API_SECRET = "api-secret-of-the-simulated-project"
const signal = AbortSignal.timeout(600_000)

const keyIn = (url: string, key: string): string => url.replace("?", `/${key}?`)
const DONE = { code: 0 }

/** The action of a user without one permission, and the expected message. */
interface Lack {
  act(): Promise<unknown>
  readonly said: RegExp
  /** What must happen anyway. */
  readonly after?: (acted: unknown) => Promise<unknown>
}

const test = testWith(
  (system, expect, defer) => {
    let worker: AppProcess | undefined

    async function startWorker() {
      worker = await system.startWorker(WORKER)
      return worker
    }

    /** Stores an archive at the source and enqueues its job. */
    async function submit(size: number, fields: { readonly sha256sum?: string } = {}) {
      const archive = system.make(size)
      await system.upload(archive)
      await system.enqueue(archive, fields)
      return archive
    }

    const isRight = async (archive: Awaited<ReturnType<typeof submit>>) =>
      expect.poll(() => system.digest(archive), SOON).toBe(archive.plaintextSha256)

    /** Kills an archive's worker after some parts. Another worker resumes or, if Redis forgets, starts over. */
    async function resume(forgets = false) {
      const held = system.s3.faults.add({
        ...{
          operation: "UploadPart",
          accessKeyId: userOf("destination").accessKeyId,
          after: 2,
          times: Number.POSITIVE_INFINITY,
          action: { hang: true },
        },
      })
      await worker?.stop()
      const first = await startWorker()
      const archive = await submit(SEVERAL)
      await expect.poll(() => system.s3.openUploads()[0]?.parts, SOON).toBe(2)
      // The parts are noted right after.
      await expect.poll(() => system.client.keys("{unseal}:*checkpoint*"), SOON).not.toEqual([])
      first.kill("SIGKILL")
      await first.exited
      held.remove()
      if (forgets) await system.client.del(await system.client.keys("{unseal}:*checkpoint*"))
      await startWorker()
      return archive
    }

    const beginAnew = () => resume(true)

    /** An archive that fails for good when its last part is written. */
    async function fail() {
      await startWorker()
      await submit(SEVERAL, { sha256sum: "0".repeat(64) })
      const deadLetters = async () => (await readAccounts(system.client, "unseal")).deadLetters
      await expect.poll(deadLetters, SOON).toBe(1)
    }

    /** Runs the janitor on an upload that nobody resumes. */
    async function sweep(): Promise<CliResult> {
      const key = `${PROJECT_ID}/${randomUUID()}/archive.ts`
      const create = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
      const writer = await system.destination.create(key, 10 * MIB, create, signal)
      const body = Buffer.alloc(writer.partSize)
      await writer.writePart(1, [body], crc32(body), signal)
      const env = { UNSEAL_DESTINATION: as("janitor", system.env.UNSEAL_DESTINATION!) }
      await new Promise((resolve) => setTimeout(resolve, 1_100))
      return system.cli(["janitor", "--older-than", "1s"], env)
    }

    /** The vendor's REST API, with one archive that no callback announced. Also returns the requests. */
    async function vendor(): Promise<{ cloud: RecordingCloud; env: Record<string, string> }> {
      const certificate = await readFile(join(system.directory, "cert.pem"), "utf8")
      const cloud = createRecordingCloud({ certificate, store: system.source, projectId: PROJECT_ID })
      await cloud.record({ size: SMALL })
      const credentials = { scheme: "opentok", apiSecret: API_SECRET } as const
      const rest = await startRestServer({ projectId: PROJECT_ID, credentials, cloud })
      defer(() => rest.close())
      return { cloud, env: { UNSEAL_API_SECRET: API_SECRET, UNSEAL_API_URL: rest.url } }
    }

    async function reconcile(): Promise<CliResult> {
      const { env } = await vendor()
      const destination = as("reconcile", system.env.UNSEAL_DESTINATION!)
      return system.cli(["archives", "reconcile"], { ...env, UNSEAL_DESTINATION: destination })
    }

    async function verify(): Promise<CliResult> {
      const { env } = await vendor()
      const target = ["--bucket", SOURCE_NAME, "--endpoint", system.s3.url, "--region", "us-east-1"]
      const certificate = ["--certificate", join(system.directory, "cert.pem")]
      return system.cli(["storage", "set", "s3", ...target, ...certificate, "--verify"], {
        ...env,
        ...credentialOf("upload"),
      })
    }

    async function decryptByHand(size: number): Promise<CliResult> {
      const archive = system.make(size)
      await system.upload(archive)
      const password = join(system.directory, "password.b64")
      await writeFile(password, archive.encryptedPassword)
      const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination } = system.env
      const urls = [keyIn(source!, archive.key), keyIn(destination!, archive.key)]
      const result = await system.cli([
        "decrypt",
        ...urls,
        "--password-file",
        password,
        "--key",
        system.keyFile,
      ])
      if (result.code === 0) await isRight(archive)
      return result
    }

    const denied = () => {
      const operations = system.s3.operations.entries()
      return operations.filter(({ code, status }) => code === "AccessDenied" || status === 403)
    }
    const did = (operation: string) =>
      system.s3.operations.entries().some((one) => one.operation === operation && one.status < 300)

    const byWorker = (size: number) => async () => {
      await startWorker()
      return submit(size)
    }
    const lacks: Readonly<Record<string, Lack>> = {
      "source s3:GetObject": { act: byWorker(SMALL), said: /ERR_STORE_DENIED.*s3:GetObject/ },
      "source s3:ListBucket": {
        async act() {
          await startWorker()
          const archive = system.make(SMALL)
          await system.enqueue(archive)
          return archive
        },
        said: /the credentials can't see it: they lack the permission s3:ListBucket/,
      },
      "destination s3:GetObject": { act: byWorker(SEVERAL), said: /ERR_STORE_DENIED.*s3:GetObject/ },
      "destination s3:PutObject": { act: byWorker(SMALL), said: /ERR_STORE_DENIED.*s3:PutObject/ },
      "destination s3:ListBucket": {
        act: byWorker(SEVERAL),
        said: /"store":"s3:\/\/decrypted","notice":"blind".*grant s3:ListBucket/,
        after: (archive) => isRight(archive as Awaited<ReturnType<typeof submit>>),
      },
      "destination s3:AbortMultipartUpload": {
        act: fail,
        said: /"store":"s3:\/\/decrypted","notice":"abort-denied".*grant s3:AbortMultipartUpload/,
      },
      "destination s3:ListBucketMultipartUploads": {
        act: beginAnew,
        said: /"store":"s3:\/\/decrypted","notice":"uploads-denied".*grant s3:ListBucketMultipartUploads/,
        after: (archive) => isRight(archive as Awaited<ReturnType<typeof submit>>),
      },
      "destination s3:ListMultipartUploadParts": {
        act: resume,
        said: /ERR_STORE_DENIED.*s3:ListMultipartUploadParts/,
      },
      "reconcile s3:GetObject": {
        async act() {
          // The record shows in a listing, but may not be looked at.
          const { cloud, env } = await vendor()
          const [archive] = cloud.archives.values()
          const record = recordKeyOf(archive!.key)
          await writeSmallObject(system.destination, record, Buffer.from("{}"), "application/json", signal)
          const destination = as("reconcile", system.env.UNSEAL_DESTINATION!)
          return system.cli(["archives", "reconcile"], { ...env, UNSEAL_DESTINATION: destination })
        },
        said: /s3:\/\/decrypted\/.*s3:GetObject/,
      },
      "reconcile s3:ListBucket": { act: reconcile, said: /s3:\/\/decrypted: .*grant s3:ListBucket/ },
      "janitor s3:AbortMultipartUpload": { act: sweep, said: /s3:AbortMultipartUpload/ },
      "janitor s3:ListBucketMultipartUploads": { act: sweep, said: /s3:ListBucketMultipartUploads/ },
      "upload s3:PutObject": { act: verify, said: /s3:PutObject/ },
    }

    return {
      ...{
        isRight,
        resume,
        beginAnew,
        submit,
        fail,
        decryptByHand,
        reconcile,
        sweep,
        verify,
        denied,
        did,
        lacks,
      },
      /** The log of the worker that was started last. */
      log: () => worker?.log ?? [],
    }
  },
  { policies: true },
)

test.concurrent("workers need exactly what is printed: archives of one part and of several, resumed, given up", async ({
  system,
  at: { isRight, resume, beginAnew, submit, fail, did, denied },
  expect,
}) => {
  await isRight(await resume())
  expect(did("ListParts")).toBe(true)
  await isRight(await beginAnew())
  expect(did("ListMultipartUploads")).toBe(true)
  await isRight(await submit(SMALL))
  await fail()
  expect(did("AbortMultipartUpload")).toBe(true)
  expect(system.s3.openUploads()).toEqual([])
  expect(denied()).toEqual([])
})

test.concurrent("commands need exactly what is printed: decrypt, reconcile, janitor, storage set", async ({
  system,
  at: { decryptByHand, reconcile, sweep, verify, denied },
  expect,
}) => {
  for (const size of [SMALL, SEVERAL]) expect(await decryptByHand(size)).toMatchObject(DONE)
  const found = await reconcile()
  expect(found).toMatchObject(DONE)
  expect(found.stdout.toString()).toMatch(/^enqueued /m)
  expect(await sweep()).toMatchObject(DONE)
  expect(system.s3.openUploads()).toEqual([])
  expect(denied()).toEqual([])
  const set = await verify()
  expect(set).toMatchObject(DONE)
  expect(set.stderr).toMatch(/took the test object .*, but did not let it be removed/)
  expect(new Set(denied().map(({ operation }) => operation))).toEqual(new Set(["DeleteObject"]))
})

test.concurrent.for(printed)(
  "%s without %s: a message names it",
  async ([name, action], { system, at: { lacks, log }, expect }) => {
    const { act, said, after } = lacks[`${name} ${action}`]!
    const { accessKeyId } = userOf(name)
    system.s3.policies.set(accessKeyId, without(printedPolicies()[name], action))
    const acted = await act()
    const words = () => {
      const { stderr } = (acted ?? {}) as Partial<CliResult>
      const lines = log().map((line) => JSON.stringify(line))
      return [...lines, ...(stderr?.split("\n") ?? [])].filter((line) => said.test(line))
    }
    await expect.poll(words, SOON).not.toEqual([])
    await after?.(acted)
  },
)

test("no printed permission is left without such a test", ({ at: { lacks }, expect }) => {
  expect(Object.keys(lacks).toSorted()).toEqual(printed.map((pair) => pair.join(" ")).toSorted())
})
