import { setTimeout as sleep } from "node:timers/promises"
import { UnsealError } from "@unseal/archive/errors"
import { expect, test } from "vitest"
import { createSilence, idling, silenceOf, type Transfer } from "./silence.ts"

const TICK_MS = 20
const never = new AbortController().signal

/** A request that is never answered. Like every store's, it rejects with the reason of its signal. */
const unanswered = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

test("a request to a store that is completely silent is given up as trouble of the deployment", async () => {
  await expect(
    createSilence(TICK_MS)
      .of(() => {})
      .limited("stat of k", unanswered, never),
  ).rejects.toMatchObject({
    ...{ code: "ERR_STORE_UNAVAILABLE", owner: "deployment" },
    message: "stat of k: no answer for 0.2 s, nor to any other request",
  })
})

test("a request that waits while others are answered goes on waiting, until those are not answered either", async () => {
  const silence = createSilence(TICK_MS).of(() => {})
  let ended = false
  const waiting = silence.limited("open of k", unanswered, never).finally(() => {
    ended = true
  })
  waiting.catch(() => {})
  for (let round = 0; round < 8; round++) {
    await sleep(3 * TICK_MS)
    if (round % 2 === 0) silence.heard()
    else await silence.limited("open of another", async () => 1, never)
  }
  expect(ended).toBe(false)
  await expect(waiting).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
})

test("answers and failures pass through, and an abort is the caller's own", async () => {
  const silence = createSilence(TICK_MS).of(() => {})
  expect(await silence.limited("x", async () => "answer", never)).toBe("answer")
  const failure = new Error("refused")
  await expect(silence.limited("x", () => Promise.reject(failure), never)).rejects.toBe(failure)
  const stop = new AbortController()
  const stopped = silence.limited("x", unanswered, stop.signal)
  stop.abort(new Error("shutting down"))
  await expect(stopped).rejects.toThrow("shutting down")
})

/** A transfer that waits for an answer that never comes. */
const stalled = (transfer: Transfer) => transfer.waiting(unanswered(transfer.signal))

test("transfers of a silent store are given up together once a look is not answered, each with an error of its own", async () => {
  const silence = createSilence(TICK_MS).of(() => {})
  let looks = 0
  const look = (signal: AbortSignal) => {
    looks++
    return unanswered(signal)
  }
  const all = ["part 1 of a", "part 2 of a", "commit of b"].map((what) =>
    stalled(silence.transfer(what, look, never)),
  )
  const ended = await Promise.allSettled(all)
  const errors = ended.map((one) => one.status === "rejected" && one.reason)
  expect(errors[2]).toMatchObject({
    ...{ code: "ERR_STORE_UNAVAILABLE", owner: "deployment" },
    message: "commit of b: no answer for 0.4 s, nor to a look",
  })
  expect(new Set(errors).size).toBe(3)
  expect(looks).toBe(1)
})

test("a transfer that waits long goes on as long as looks are answered, even by refusals", async () => {
  const silence = createSilence(TICK_MS).of(() => {})
  let looks = 0
  const third = Promise.withResolvers<void>()
  const look = async () => {
    if (++looks === 3) third.resolve()
    if (looks % 2 === 0) throw new UnsealError("ERR_STORE_DENIED", "denied")
    return null
  }
  const transfer = silence.transfer("commit of k", look, never)
  await transfer.waiting(third.promise)
  expect(transfer.signal.aborted).toBe(false)
})

test("a look that fails because the store is gone ends the transfers at once", async () => {
  const look = () => Promise.reject(new UnsealError("ERR_STORE_UNAVAILABLE", "the connection was refused"))
  await expect(
    stalled(
      createSilence(TICK_MS)
        .of(() => {})
        .transfer("part 1 of k", look, never),
    ),
  ).rejects.toMatchObject({
    message: "part 1 of k: no answer for 0.2 s, and a look fails: the connection was refused",
  })
})

test("a transfer whose consumer is busy is not given up, but its caller can abort it", async () => {
  const silence = createSilence(TICK_MS).of(() => {})
  const stop = new AbortController()
  const held = silence.transfer("read of k", unanswered, stop.signal)
  await held.waiting(Promise.resolve())
  await expect(stalled(silence.transfer("read of another", unanswered, never))).rejects.toThrow(
    "nor to a look",
  )
  expect(held.signal.aborted).toBe(false)
  const stopped = stalled(held)
  stop.abort(new Error("shutting down"))
  await expect(stopped).rejects.toThrow("shutting down")
})

test("all holders of a store hear the same about it", () => {
  const store = {}
  expect(silenceOf(store)).toBe(silenceOf(store))
  expect(silenceOf({})).not.toBe(silenceOf(store))
})

/** A waiting run whose project turns out to be suspended: it is aborted as soon as it reports that it waits. */
function suspended() {
  const abort = new AbortController()
  return { signal: abort.signal, waits: () => abort.abort(new Error("suspended")) }
}

test.each<
  [string, (silence: ReturnType<typeof createSilence>, run: ReturnType<typeof suspended>) => Promise<unknown>]
>([
  ["a look", (silence, { waits, signal }) => silence.of(waits).limited("stat of k", unanswered, signal)],
  [
    "a part",
    (silence, { waits, signal }) => stalled(silence.of(waits).transfer("part 1 of k", unanswered, signal)),
  ],
])(
  "%s that moves nothing tells that it waits, although others of the store get on or are refused",
  async (_, wait) => {
    const silence = createSilence(TICK_MS)
    const other = silence.of(() => {})
    const others = setInterval(() => {
      other.heard()
      silence.refused()
    }, TICK_MS)
    await expect(wait(silence, suspended())).rejects.toThrow("suspended")
    clearInterval(others)
  },
)

test("a run that moves anything does not wait, and a commit of parts may take long", async () => {
  const silence = createSilence(TICK_MS)
  const moving = suspended()
  const run = silence.of(moving.waits)
  const moves = setInterval(run.heard, TICK_MS)
  const read = run.transfer("read of k", async () => null, moving.signal)
  const committing = suspended()
  const commit = silence
    .of(committing.waits)
    .transfer("commit of k", async () => null, committing.signal, true)
  // Twenty ticks of a transfer that reports when it waits.
  const told = silence.of(() => ticks++)
  let ticks = 0
  const done = Promise.withResolvers<void>()
  void told.transfer("read of another", async () => null, never).waiting(done.promise)
  const [first, second] = [read.waiting(done.promise), commit.waiting(done.promise)]
  await expect.poll(() => ticks, { timeout: 10_000, interval: TICK_MS }).toBeGreaterThan(20)
  done.resolve()
  await Promise.all([first, second])
  clearInterval(moves)
  expect([moving.signal.aborted, committing.signal.aborted]).toEqual([false, false])
})

test("work of any kind reports that it waits, and passes its result on", async () => {
  const { signal, waits } = suspended()
  await expect(idling(unanswered(signal), waits, TICK_MS)).rejects.toThrow("suspended")
  expect(await idling(Promise.resolve(1), waits, TICK_MS)).toBe(1)
})
