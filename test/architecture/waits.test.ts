/**
 * Who waits by hand. A promise that is made by hand can be forgotten by whoever should settle it, and then somebody waits for ever:
 * each of these files says what ends the wait, at the latest. Everybody else waits with packages/archive/src/waiting.ts.
 */
import { expect, it } from "vitest"
import { readSources } from "./sources.ts"

const ENDED_BY: Readonly<Record<string, string>> = {
  "apps/cli/src/queue/connection.ts": "its timeout",
  "apps/cli/src/terminal/standard-output.ts": "the signal: the caller's `untilAborted` is around it",
  "packages/service/src/http/limited-server.ts": "the timer that cuts the connections",
  "packages/archive/src/decrypt/budget.ts": "the signal, which is looked at first",
  "packages/archive/src/ordered/hash-thread.ts": "the signal, or the thread's end",
  "packages/archive/src/ordered/slot-pool.ts": "the signal, which is looked at first, or the thread's end",
  "packages/archive/src/store/directory/threads.ts": "the signal, which is looked at first",
  "packages/archive/src/store/http/connection.ts": "the timers of the connection's state, and its pace",
  "packages/archive/src/store/http/request.ts": "its pace, and the end of the socket",
  "packages/archive/src/store/https/agent.ts":
    "the system's resolver, which gives up by itself, and the limit of silence around it",
  "packages/archive/src/store/https/source.ts": "the limit of silence, and the signal",
  "packages/archive/src/store/http/proxy.ts": "its timeout, and the signal, which is looked at first",
  "packages/archive/src/store/requests/limit.ts": "the signal, which is looked at first",
  "packages/archive/src/waiting.ts": "the signal, which is looked at first",
  "packages/queue/src/watch/alone.ts": "the signal, and the ends of the runs it waits for",
  "packages/queue/src/enqueue/batch.ts": "the producer's deadline, for one batch as for one job",
  "packages/queue/src/enqueue/replicated.ts": "the deadline of each look, and the producer's",
  "packages/queue/src/run/consumer.ts": "the end of the run, which it is raced with",
  "packages/queue/src/enqueue/producer.ts": "the deadline around it",
  "packages/queue/src/suspension/suspension.ts": "its timer",
  "packages/service/src/admin.ts": "the kernel's answer, the connections it closes, or its timer",
  "packages/service/src/redis/reach.ts": "its timer, and that of the socket",
}

const waiting = readSources().filter(
  ({ path, text, isTest }) =>
    !isTest &&
    /^(packages|apps)\/(?!simulator\/)/.test(path) &&
    !path.includes("/fixtures/") &&
    /\bnew Promise\b|\bPromise\.withResolvers\b/.test(text),
)

it("a promise is made by hand only where it is known what ends the wait", () => {
  expect(
    waiting.map(({ path }) => path).sort(),
    "wait by untilAborted or withDeadline, or say here what ends the wait",
  ).toEqual(Object.keys(ENDED_BY).sort())
})

it("a listener of an abort looks at the signal first", () => {
  const blind = readSources()
    .filter(({ path, isTest }) => !isTest && /^(packages|apps)\/(?!simulator\/)/.test(path))
    .filter(({ text }) => /addEventListener\("abort"/.test(text))
    .filter(({ text }) => !/\.aborted\b|throwIfAborted\(\)/.test(text))
  expect(blind.map(({ path }) => path)).toEqual([])
})
