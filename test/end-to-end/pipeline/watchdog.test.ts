/** Runs in which nothing moves any more, with real workers: what the watchdog does, and how the archives continue. */
import { readAccounts } from "@unseal/queue/accounting"
import { queueKey } from "@unseal/queue/names"
import type { AppProcess } from "../../harness/process.ts"
import { DESTINATION_NAME } from "../../harness/stores.ts"
import type { Archive } from "../../harness/worker-system.ts"
import { testWith } from "../../harness/worker-test.ts"

const PART = 5 * 1024 * 1024
const PARTS = 5
const SIZE = PARTS * PART - 188 * 16
const SOON = { timeout: 120_000, interval: 100 }
/** Shorter than the 30 s after which a silent request is repeated. */
const STUCK_AFTER_MS = 5_000
const partByPart = { UNSEAL_PART_SIZE_BYTES: String(PART), UNSEAL_PARTS_IN_FLIGHT: "1" }
const limits = (graceMs: number) => ({
  RIG: "1",
  RIG_WATCHDOG: `${STUCK_AFTER_MS}:${graceMs}:100`,
})

/** How many parts `worker` has stored, according to its log. */
const partsStoredBy = (worker: AppProcess) => worker.log.filter(({ step }) => step === "after-write").length

/** The log lines about runs that the watchdog ended. */
const stuckIn = (worker: AppProcess) =>
  worker.log
    .filter(({ msg }) => msg === "archive is stuck: its run is ended")
    .map(({ err }) => (err as { message: string }).message)

const test = testWith((system, expect) => {
  const accounts = () => readAccounts(system.client, "unseal")
  const uploadsBegun = () =>
    system.s3.operations.count("CreateMultipartUpload", ({ bucket }) => bucket === DESTINATION_NAME)

  async function submit(): Promise<{ archive: Archive; jobId: string }> {
    const archive = system.make(SIZE)
    await system.upload(archive)
    const jobId = await system.enqueue(archive)
    system.s3.operations.clear()
    return { archive, jobId }
  }

  async function expectDone(archive: Archive): Promise<void> {
    await expect.poll(async () => (await accounts()).committed, SOON).toBe(1)
    expect(await system.digest(archive)).toBe(archive.plaintextSha256)
    expect(await accounts()).toMatchObject({ deadLetters: 0, live: 0, missing: 0 })
    expect(system.s3.openUploads()).toEqual([])
    expect(uploadsBegun()).toBe(1)
  }
  return { accounts, submit, expectDone }
})

test.concurrent("a run that waits too long for a part is ended, and the next one continues with the existing parts", async ({
  system,
  at: { submit, expectDone },
  expect,
}) => {
  const { archive, jobId } = await submit()
  const hanging = system.s3.faults.add({
    ...{ operation: "UploadPart", after: 2, times: Number.POSITIVE_INFINITY, action: { hang: true } },
  })
  const worker = await system.startWorker({ ...partByPart, ...limits(600_000) })
  await expect.poll(() => stuckIn(worker).length, SOON).toBeGreaterThan(0)
  hanging.remove()
  await expectDone(archive)

  expect(stuckIn(worker)[0]).toMatch(/^no part, no step and no byte for [\d.]+ s while .*writing part 3$/)
  const metrics = await (await fetch(`http://127.0.0.1:${worker.ports.admin}/metrics`)).text()
  expect(metrics).toMatch(new RegExp(`^unseal_runs_stuck_total ${stuckIn(worker).length}$`, "m"))
  expect(metrics).toMatch(/^unseal_\w*retr\w*\{.*code="ERR_RUN_STUCK".*\} [1-9]/m)
  // The run that was ended counts as an attempt.
  expect(Number(await system.client.hget(queueKey("unseal", jobId), "atm"))).toBeGreaterThan(1)
  expect(worker.running()).toBe(true)
}, 300_000)

test.concurrent("a worker whose run ignores its abort ends itself, and another continues with the existing parts", async ({
  system,
  at: { submit, expectDone },
  expect,
}) => {
  const { archive, jobId } = await submit()
  // Held after its second part, whatever its signal says.
  const held = await system.startWorker({
    ...{ ...partByPart, ...limits(1_000), RIG_FAULT_POINT: "after-part:2:hold" },
  })
  expect(await held.exited).not.toBe(0)
  expect(stuckIn(held)).toHaveLength(1)
  const last = JSON.stringify(held.log.at(-1)) + held.stderr()
  expect(last).toContain(`a run that is stuck did not end within 1 s after its abort: job ${jobId}`)

  const next = await system.startWorker({ ...partByPart, RIG: "1" })
  await expectDone(archive)
  expect([partsStoredBy(held), partsStoredBy(next)]).toEqual([2, PARTS - 2])
}, 300_000)

test.concurrent("an archive without attempts left is a dead letter, and its redrive continues with the existing parts", async ({
  system,
  at: { accounts, submit, expectDone },
  expect,
}) => {
  const { archive } = await submit()
  const hanging = system.s3.faults.add({
    ...{ operation: "UploadPart", after: 2, times: Number.POSITIVE_INFINITY, action: { hang: true } },
  })
  const worker = await system.startWorker({ ...partByPart, ...limits(600_000), UNSEAL_ATTEMPTS: "2" })
  await expect.poll(async () => (await accounts()).deadLetters, SOON).toBe(1)
  const stored = partsStoredBy(worker)
  expect(stuckIn(worker)).toHaveLength(2)
  const [letter] = JSON.parse((await system.cli(["queue", "dead-letters", "--json"])).stdout.toString())
  expect(letter).toMatchObject({ code: "ERR_RUN_STUCK", archiveId: archive.archiveId })
  expect(system.s3.openUploads()).toHaveLength(1)
  const sweep = await system.cli(["janitor", "--older-than", "1s", "--json"])
  expect(JSON.parse(sweep.stdout.toString()).stores[0]).toMatchObject({ owned: 1, aborted: [] })
  expect(await worker.stop()).toBe(0)

  hanging.remove()
  expect(await system.cli(["queue", "redrive", "--all"])).toMatchObject({ code: 0 })
  const next = await system.startWorker({ ...partByPart, RIG: "1" })
  await expectDone(archive)
  expect(stored).toBe(2)
  expect(partsStoredBy(next)).toBe(PARTS - stored)
}, 300_000)
