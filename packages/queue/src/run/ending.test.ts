import { UnsealError } from "@unseal/archive/errors"
import { expect, test } from "vitest"
import { codeOf, endingOf, type FailedRun, reasonOf } from "./ending.ts"

const RUN: Omit<FailedRun, "error"> = {
  ...{ lockLost: false, shuttingDown: false, attemptsMade: 0, attempts: 12 },
  ...{ waitedMs: 5_000, objectWaitMs: 60_000 },
}
const permanent = new UnsealError("ERR_NOT_MPEG_TS", "3 of 752 sync bytes match")
const transient = new UnsealError("ERR_OBJECT_CHANGED", "another version is there")
const missing = new UnsealError("ERR_OBJECT_NOT_FOUND", "neither of 2 keys exists")

test("a permanent failure is a dead letter at once, even while the process shuts down", () => {
  const dead = {
    kind: "dead-letter",
    code: "ERR_NOT_MPEG_TS",
    reason: "ERR_NOT_MPEG_TS: 3 of 752 sync bytes match",
  }
  expect(endingOf({ ...RUN, error: permanent })).toEqual(dead)
  expect(endingOf({ ...RUN, error: permanent, shuttingDown: true })).toEqual(dead)
})

test("a transient failure is retried until the attempts are used up", () => {
  expect(endingOf({ ...RUN, error: transient, attemptsMade: 10 }).kind).toBe("retry")
  expect(endingOf({ ...RUN, error: transient, attemptsMade: 11 }).kind).toBe("dead-letter")
})

test("a missing object has a waiting budget of its own, whatever the attempts", () => {
  const waiting = { kind: "waiting", code: "ERR_OBJECT_NOT_FOUND", waitedMs: 5_000, delayMs: 1_000 }
  expect(endingOf({ ...RUN, error: missing, attemptsMade: 11 })).toMatchObject(waiting)
  expect(endingOf({ ...RUN, error: missing, waitedMs: 60_000 }).kind).toBe("dead-letter")
})

test("an incomplete object waits like a missing one", () => {
  const error = new UnsealError("ERR_OBJECT_INCOMPLETE", "8 of 16 bytes")
  expect(endingOf({ ...RUN, error, attemptsMade: 11 })).toMatchObject({ kind: "waiting", code: error.code })
  expect(endingOf({ ...RUN, error, waitedMs: 60_000 })).toMatchObject({
    kind: "dead-letter",
    code: error.code,
  })
})

test("a run that was aborted by a shutdown hands its job back, whatever it throws", () => {
  for (const error of [transient, missing, new Error("aborted"), undefined])
    expect(endingOf({ ...RUN, error, shuttingDown: true })).toEqual({ kind: "handed-back" })
})

test("a run that lost its lock decides nothing", () => {
  for (const error of [permanent, transient, missing])
    expect(endingOf({ ...RUN, error, lockLost: true })).toEqual({ kind: "lock-lost" })
})

test("an error without a code is retried, and its text, which may hold anything, is not kept", () => {
  const ending = endingOf({ ...RUN, error: new TypeError("password=canary") })
  expect(ending).toMatchObject({ kind: "retry", code: "ERR_UNEXPECTED" })
  expect(JSON.stringify(ending)).not.toContain("canary")
  expect(reasonOf("canary")).not.toContain("canary")
})

test("the code can be read back from a reason", () => {
  expect(codeOf(reasonOf(permanent))).toBe("ERR_NOT_MPEG_TS")
  expect(codeOf(reasonOf(new Error("x")))).toBe("ERR_UNEXPECTED")
  expect(codeOf("ERR_STALLED: 11 workers ended while they had this job")).toBe("ERR_STALLED")
  expect(codeOf("job stalled more than allowable limit")).toBe("ERR_STALLED")
  expect(codeOf("ERR_OF_ANOTHER_VERSION: x")).toBe("ERR_UNEXPECTED")
  expect(codeOf(undefined)).toBe("ERR_UNEXPECTED")
})

test("a trouble of the deployment suspends its side, whatever the attempts and the kind of its code", () => {
  for (const code of [
    "ERR_STORE_DENIED",
    "ERR_STORE_UNAVAILABLE",
    "ERR_STORE_FULL",
    "ERR_STORE_BUSY",
  ] as const) {
    const error = new UnsealError(code, "as the test wants")
    error.side = "destination"
    const suspended = { kind: "suspended", code, side: "destination", reason: `${code}: as the test wants` }
    for (const attemptsMade of [0, 11]) expect(endingOf({ ...RUN, error, attemptsMade })).toEqual(suspended)
    expect(endingOf({ ...RUN, error, shuttingDown: true })).toEqual({ kind: "handed-back" })
  }
  for (const code of ["ERR_KEY_INVALID", "ERR_KEY_SERVICE_UNAVAILABLE"] as const)
    expect(endingOf({ ...RUN, error: new UnsealError(code, "x") }).kind).toBe("suspended")
})

test("a trouble that turns out to be the archive's own is judged by its kind", () => {
  const denied = new UnsealError("ERR_STORE_DENIED", "the object may not be read")
  const unavailable = new UnsealError("ERR_STORE_UNAVAILABLE", "the store answered 503")
  expect(endingOf({ ...RUN, error: denied, isOwn: true }).kind).toBe("dead-letter")
  expect(endingOf({ ...RUN, error: unavailable, isOwn: true }).kind).toBe("retry")
  expect(endingOf({ ...RUN, error: unavailable, isOwn: true, attemptsMade: 11 }).kind).toBe("dead-letter")
})

test("an object in an archival class waits for days, with rare looks", () => {
  const error = new UnsealError("ERR_OBJECT_ARCHIVED", "the object is in GLACIER")
  const waited = (hours: number) => endingOf({ ...RUN, error, waitedMs: hours * 3_600_000 })
  expect(waited(0)).toMatchObject({ kind: "waiting", delayMs: 300_000 })
  expect(waited(71)).toMatchObject({ kind: "waiting", delayMs: 900_000 })
  expect(waited(72).kind).toBe("dead-letter")
})
