/** A worker is killed in the middle of an archive, and another continues from there: on every kind of store. */
import { createHash } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readSmallObject } from "@unseal/archive/store/small-object"
import { decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { afterEach, describe, expect, test } from "vitest"
import type { StoreKind } from "../../harness/stores.ts"
import { PROJECT_ID, type RecordedArchive, type System, startSystem } from "../../harness/system.ts"

const PART = 5 * 1024 * 1024
/** Five parts. */
const SIZE = 22_000_000
const never = new AbortController().signal
const POLL = { timeout: 60_000, interval: 200 }

let system: System | undefined
afterEach(async () => {
  await system?.close()
  system = undefined
})

/** Hex SHA-256 of openssl's output, without the padding for `trim`. */
async function expected(archive: RecordedArchive, tail: "keep" | "trim"): Promise<string> {
  const { source, keyFile } = system!
  const directory = await mkdtemp(join(tmpdir(), "unseal-resume-"))
  try {
    const [encrypted, plain] = [join(directory, "archive.enc"), join(directory, "archive.ts")]
    await writeFile(
      encrypted,
      await readSmallObject(source, (await source.stat(archive.key, never))!, 2 ** 30, never),
    )
    const { encryptedPassword } = archive.recording
    await decryptByOpenssl({ encryptedPassword, keyFile, source: encrypted, destination: plain })
    const bytes = await readFile(plain)
    const padding = tail === "trim" ? bytes.at(-1)! : 0
    expect(padding).toBeLessThanOrEqual(16)
    return createHash("sha256")
      .update(bytes.subarray(0, bytes.length - padding))
      .digest("hex")
  } finally {
    await rm(directory, { recursive: true })
  }
}

describe.each<StoreKind>(["s3", "azure", "file"])("on %s", (store) => {
  test.each(["keep", "trim"] as const)(
    "an archive whose tail is to %s is resumed after a kill, and is whole",
    async (tail) => {
      const workerEnv: Record<string, string> = {
        ...{ UNSEAL_TAIL: tail, UNSEAL_PART_SIZE_BYTES: String(PART), UNSEAL_PARTS_IN_FLIGHT: "1" },
        ...{ UNSEAL_LOCK_MS: "2000", UNSEAL_STALL_CHECK_MS: "500" },
        ...{ RIG: "1", RIG_FAULT_POINT: "after-part:2:kill" },
      }
      system = await startSystem({ store, workers: 0, workerEnv })
      await system.record({ size: SIZE, tail: "pkcs7" })
      const killed = await system.startWorker()
      await killed.exited
      const uploads = await Array.fromAsync(system.destination.openUploads(never))
      expect(uploads.map(({ key }) => key)).toEqual([expect.stringMatching(/archive\.ts$/)])

      delete workerEnv.RIG_FAULT_POINT
      const worker = await system.startWorker()
      const [summary] = await system.archives()
      const archive = await system.archive(summary!.id)
      const key = `${PROJECT_ID}/${archive.id}/archive.ts`
      await expect
        .poll(() => system!.destination.stat(key.replace(".ts", ".json"), never), POLL)
        .not.toBeNull()

      const object = (await system.destination.stat(key, never))!
      const trimmed = archive.recording.size - object.size
      if (tail === "keep") expect(trimmed).toBe(0)
      else expect(trimmed).toBeGreaterThan(0)
      const bytes = await readSmallObject(system.destination, object, 2 ** 30, never)
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(await expected(archive, tail))
      // What the first worker wrote is not written again.
      const written = worker.log.filter(({ msg, step }) => msg === "step" && step === "after-write")
      expect(written).toHaveLength(Math.ceil(object.size / PART) - 2)
      await expect.poll(() => Array.fromAsync(system!.destination.openUploads(never)), POLL).toEqual([])
    },
  )
})
