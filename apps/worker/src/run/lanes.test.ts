/** One worker with archives of both lanes. */
import { createCipheriv, createPublicKey, randomBytes } from "node:crypto"
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { expect, test } from "vitest"
import {
  directory,
  archiveId as liveArchive,
  PROJECT,
  running,
  start,
  submit,
  upload,
  VECTOR,
} from "../../../../test/harness/runs/worker-in-process.ts"
import type { RunDecorator } from "./run-decorator.ts"

const PART = 64 * 1024
const BULK_ARCHIVE = "00000000-0000-4000-8000-000000000001"
const POLL = { timeout: 60_000, interval: 20 }

/** Puts an archive of many parts into the source. Resolves to its encrypted password and its plaintext. */
async function uploadLarge() {
  const plaintext = randomBytes(40 * PART)
  for (let at = 0; at < plaintext.length; at += 188) plaintext[at] = 0x47
  const [key, iv] = [randomBytes(32), randomBytes(16)]
  const cipher = createCipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
  const folder = join(directory, "in", PROJECT, BULK_ARCHIVE)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, "archive.ts"), Buffer.concat([cipher.update(plaintext), cipher.final()]))
  const publicKey = createPublicKey(await readFile(join(VECTOR, "key.pem")))
  return { plaintext, encryptedPassword: wrapPassword(encodePassword({ key, iv }), publicKey) }
}

/** Until it is opened, only the first part of the bulk archive can be read. */
function createGate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  const around: RunDecorator["around"] = ({ resources, context }) => {
    if (!context.jobId.includes(BULK_ARCHIVE)) return { resources, context }
    const source = new Proxy(resources.source, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== "function") return value
        if (name !== "read") return value.bind(target)
        return async function* (...given: Parameters<typeof target.read>) {
          await promise
          yield* target.read(...given)
        }
      },
    })
    return { resources: { ...resources, source }, context }
  }
  return { decorator: { around }, open: resolve }
}

test("a live archive is done before a large bulk one whose parts have all the memory that bulk may have", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  const { plaintext, encryptedPassword } = await uploadLarge()
  await upload()
  const gate = createGate()
  const settings = {
    UNSEAL_CONCURRENCY: "2",
    UNSEAL_PART_SIZE_BYTES: String(PART),
    UNSEAL_PARTS_IN_FLIGHT: "4",
  }
  start(settings, undefined, [gate.decorator])
  const committed = () =>
    running.lines.filter(({ msg }) => msg === "archive committed").map(({ archiveId }) => archiveId)

  await submit(PROJECT, { archiveId: BULK_ARCHIVE, encryptedPassword, lane: "bulk", nonce: "bulk" })
  const used = (lane: string, bytes: number) => `unseal_memory_budget_used_bytes{lane="${lane}"} ${bytes}\n`
  await expect.poll(() => running.registry.metrics(), POLL).toContain(used("bulk", 3 * PART))
  expect(await running.registry.metrics()).toContain('unseal_slots_busy{lane="bulk"} 1\n')

  await submit()
  await expect.poll(committed, POLL).toEqual([liveArchive])
  expect(await running.registry.metrics()).toContain(used("bulk", 3 * PART))
  gate.open()
  await expect.poll(committed, POLL).toEqual([liveArchive, BULK_ARCHIVE])
  const written = await readFile(join(directory, "out", PROJECT, BULK_ARCHIVE, "archive.ts"))
  expect(written.equals(plaintext)).toBe(true)
  const metrics = await running.registry.metrics()
  for (const lane of ["live", "bulk"]) expect(metrics).toContain(used(lane, 0))
})
