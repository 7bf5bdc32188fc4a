import { suspensionsKey } from "@unseal/queue/names"
import { pauseQueue } from "@unseal/queue/pause"
import { expect, test } from "vitest"
import { giveDeadLetters, newPayload, useQueue } from "../../../test/harness/queue.ts"
import { readQueueOverview } from "./queue-overview.ts"
import { resume } from "./resume.ts"

const current = useQueue("resume")
const never = new AbortController().signal
const access = () => ({ connection: current.client, queue: current.name })

test("a pause ends without a choice, and is reported as still there with one", async () => {
  const pause = await pauseQueue(current.client, current.name)
  const nothing = { endedPause: null, suspensions: [] }
  expect(await resume(access(), { projectId: "7" }, never)).toEqual({ ...nothing, pause })
  expect(await resume(access(), { side: "keys" }, never)).toEqual({ ...nothing, pause })
  expect(await resume(access(), {}, never)).toEqual({ ...nothing, endedPause: pause, pause: null })
  expect(await resume(access(), {}, never)).toEqual({ ...nothing, pause: null })
})

test("the selected suspensions end, and are reported as they were", async () => {
  const since = Date.now() - 60_000
  const trouble = {
    code: "ERR_STORE_DENIED",
    reason: "ERR_STORE_DENIED: no",
    remedy: "check the credentials",
  }
  for (const name of ["7:source", "7:keys", "8:source"])
    await current.client.hset(
      suspensionsKey(current.name),
      name,
      JSON.stringify({ ...trouble, since, intervalMs: 30_000, probes: 1, maxMs: 86_400_000 }),
    )
  const ended = async (choice: Parameters<typeof resume>[1]) =>
    (await resume(access(), choice, never)).suspensions.map(({ projectId, side }) => `${projectId}:${side}`)
  expect(await resume(access(), { projectId: "7", side: "keys" }, never)).toMatchObject({
    suspensions: [
      { projectId: "7", side: "keys", held: 0, since: new Date(since).toISOString(), ...trouble },
    ],
  })
  expect(await ended({ side: "destination" })).toEqual([])
  expect(await ended({ projectId: "8" })).toEqual(["8:source"])
  expect((await readQueueOverview(access())).suspensions).toMatchObject([{ projectId: "7", side: "source" }])
  expect(await ended({})).toEqual(["7:source"])
})

test("an unknown side is refused without ending anything, and so is a call after the signal's abort", async () => {
  const pause = await pauseQueue(current.client, current.name)
  await expect(resume(access(), { side: "disk" }, never)).rejects.toMatchObject({
    code: "ERR_OPTION_INVALID",
    message: "disk is not a side: the sides are source, destination, keys, vendor",
  })
  await expect(resume(access(), {}, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough")
  expect((await readQueueOverview(access())).pause).toEqual(pause)
})

test("an overview counts what is there, and distinguishes a queue that never existed from an empty one", async () => {
  expect(await readQueueOverview(access())).toMatchObject({ exists: false, pause: null, suspensions: [] })
  await current.producer.enqueue(newPayload())
  await giveDeadLetters(current, 2, "7", Date.now(), "ERR_OBJECT_CHANGED: another version is there")
  expect(await readQueueOverview(access())).toMatchObject({
    exists: true,
    status: { jobs: { waiting: 1, failed: 2 } },
    accounts: { accepted: 1, live: 1, deadLetters: 2 },
  })
})
