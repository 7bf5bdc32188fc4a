/** A destination directory does not respond, like a dead mount, while its project's archives occupy every slot of the worker. */
import { execFile } from "node:child_process"
import { constants } from "node:fs"
import { mkdir, open, rename, rm, stat, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { metadataFileOf } from "@unseal/archive/store/directory/names"
import { etagOf } from "@unseal/archive/store/directory/object"
import { openStore } from "@unseal/archive/store/open"
import { readAccounts } from "@unseal/queue/accounting"
import { listSuspensions } from "@unseal/queue/suspension/state"
import { expect, test } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { PROJECT_ID } from "../../harness/system.ts"
import { startWorkerSystem } from "../../harness/worker-system.ts"

const MIB = 1024 * 1024
const WELL = "200002"
const SLOTS = 4
const SOON = { timeout: 120_000, interval: 50 }

test("a hung directory holds no slot for more than 20 s, and no thread that others need", async () => {
  const system = await startWorkerSystem()
  const pipes: string[] = []
  /** Opening one of them blocks a thread that nothing can end. */
  const release = async () => {
    for (const path of pipes.splice(0)) {
      const ends = await open(path, constants.O_RDWR | constants.O_NONBLOCK)
      await rm(path)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await ends.close()
    }
  }
  try {
    const { UNSEAL_SOURCE: source, UNSEAL_DESTINATION: destination, UNSEAL_KEYS: keys } = system.env
    const dead = join(system.directory, "dead")
    await mkdir(dead)
    // A host name, so that each new connection needs a thread.
    const byName = destination!.replace("127.0.0.1", "localhost")
    const projects = [
      { id: PROJECT_ID, source, destination: `file://${dead}`, keys },
      { id: WELL, source, destination: byName, keys },
    ]
    const sick = await system.submit(PROJECT_ID, [
      188 * 320,
      11 * MIB,
      188 * 320,
      11 * MIB,
      188 * 320,
      188 * 320,
    ])
    for (const { key } of sick) {
      const path = join(dead, key)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, "x")
      const pipe = metadataFileOf(path, etagOf(await stat(path, { bigint: true })))
      await promisify(execFile)("mkfifo", [`${pipe}.new`])
      await rename(`${pipe}.new`, pipe)
      pipes.push(pipe)
    }
    const worker = await system.startWorkerOf(projects, {
      UNSEAL_CONCURRENCY: String(SLOTS),
      UNSEAL_PART_SIZE_BYTES: String(5 * MIB),
      UNSEAL_LOCK_MS: "30000",
    })
    const suspended = () => listSuspensions(system.client, "unseal")
    const well = await system.submit(WELL, [11 * MIB, 188 * 320, 188 * 320, 188 * 320])
    const committed = async () => (await readAccounts(system.client, "unseal")).committed
    await expect.poll(committed, SOON).toBe(well.length)
    for (const archive of well) expect(await system.digest(archive)).toBe(archive.plaintextSha256)
    await expect.poll(suspended, SOON).toMatchObject([
      {
        ...{ projectId: PROJECT_ID, side: "destination", code: "ERR_STORE_UNAVAILABLE" },
        reason: expect.stringMatching(/no answer for 10 s/),
      },
    ])

    // The mount is back. Only the files that made it hang were there.
    for (const { key } of sick) await rm(join(dead, key))
    await release()
    await expect.poll(committed, SOON).toBe(well.length + sick.length)
    const directory = poisoned(await openStore(`file://${dead}`, { env: {} }))
    const signal = AbortSignal.timeout(60_000)
    for (const archive of sick)
      expect((await directory.stat(archive.key, signal))?.size).toBe(archive.ciphertext.length)
    expect(await readAccounts(system.client, "unseal")).toMatchObject({ deadLetters: 0, live: 0, missing: 0 })
    expect(worker.log.filter(({ msg }) => String(msg).includes("stuck"))).toEqual([])
  } finally {
    await release()
    await system.close()
  }
}, 300_000)

test("a worker with a blocked thread still ends", async () => {
  const system = await startWorkerSystem()
  try {
    const dead = join(system.directory, "dead")
    const archive = system.make(188 * 320)
    const path = join(dead, archive.key)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, "x")
    const pipe = metadataFileOf(path, etagOf(await stat(path, { bigint: true })))
    await promisify(execFile)("mkfifo", [pipe])
    const worker = await system.startWorker({ UNSEAL_DESTINATION: `file://${dead}` })
    await system.upload(archive)
    await system.enqueue(archive)
    await expect.poll(() => worker.log.some(({ msg }) => msg === "archive started"), SOON).toBe(true)
    worker.kill("SIGTERM")
    await worker.exited
    expect(worker.log.at(-1)).toMatchObject({ msg: "stopped" })
    // Its job was handed back before.
    expect(await readAccounts(system.client, "unseal")).toMatchObject({ deadLetters: 0, live: 1, missing: 0 })
  } finally {
    await system.close()
  }
}, 120_000)
