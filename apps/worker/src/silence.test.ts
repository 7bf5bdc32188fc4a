import { setTimeout as sleep } from "node:timers/promises"
import { expect, test } from "vitest"
import { createSilence, silenceOf } from "./silence.ts"

const TICK_MS = 20
const never = new AbortController().signal

/** A request that is never answered, and rejects with the reason of its signal, as every store's do. */
const unanswered = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))

test("a request to a store that says nothing at all is given up, as the deployment's trouble", async () => {
  await expect(createSilence(TICK_MS).limited("stat of k", unanswered, never)).rejects.toMatchObject({
    ...{ code: "ERR_STORE_UNAVAILABLE", owner: "deployment" },
    message: "stat of k: no answer for 0.2 s, nor to any other request",
  })
})

test("one that waits while others are answered goes on waiting, and is given up when those are not, either", async () => {
  const silence = createSilence(TICK_MS)
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

test("an answer and a failure pass, and an abort is the caller's own", async () => {
  const silence = createSilence(TICK_MS)
  expect(await silence.limited("x", async () => "answer", never)).toBe("answer")
  const failure = new Error("refused")
  await expect(silence.limited("x", () => Promise.reject(failure), never)).rejects.toBe(failure)
  const stop = new AbortController()
  const stopped = silence.limited("x", unanswered, stop.signal)
  stop.abort(new Error("shutting down"))
  await expect(stopped).rejects.toThrow("shutting down")
})

test("all who hold a store hear the same of it", () => {
  const store = {}
  expect(silenceOf(store)).toBe(silenceOf(store))
  expect(silenceOf({})).not.toBe(silenceOf(store))
})
