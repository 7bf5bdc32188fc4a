import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { expect, test } from "vitest"
import { type ErrorCode, UnsealError } from "../errors.ts"
import type { UnwrappedPassword } from "../format/key-ring.ts"
import type { OpenedKeyRing } from "./contract.ts"
import { type KeyRingSchemes, keyRingProblem, openKeyRing } from "./open.ts"

const never = new AbortController().signal
const unwrapped = { password: new Uint8Array(64).fill(1), keyId: "ab" }
const away = () => new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "service answered 503")
type Unwrap = (signal: AbortSignal) => Promise<UnwrappedPassword | null>

/** A key service that gives these answers in turn, and repeats the last. */
function remote(answers: readonly Unwrap[], opening: readonly (() => Promise<void>)[] = []) {
  const seen = {
    requests: 0,
    openings: 0,
    closed: 0,
    signals: [] as AbortSignal[],
    retried: [] as ErrorCode[],
    outcomes: [] as string[],
  }
  const ring: OpenedKeyRing = {
    ...{ location: "fake://keys/a", describe: () => [], problems: () => [], notes: () => [] },
    ...{ certificates: () => [], lookedAt: () => Date.now(), refresh: async () => {} },
    unwrap(_, signal) {
      seen.signals.push(signal)
      return answers[Math.min(seen.requests++, answers.length - 1)]!(signal)
    },
    async close() {
      seen.closed++
    },
  }
  const schemes: KeyRingSchemes = {
    fake: {
      ...{ example: "fake://keys/NAME", isRemote: true },
      parse: (url) =>
        /^fake:\/\//i.test(url)
          ? async () => {
              await opening[seen.openings++]?.()
              return ring
            }
          : "must have two slashes",
    },
  }
  const requests = {
    ...{ timeoutMs: 100, baseMs: 1, onRetry: (code: ErrorCode) => void seen.retried.push(code) },
    onRequest: (outcome: string) => void seen.outcomes.push(outcome),
  }
  return { seen, schemes, open: () => openKeyRing("fake://keys/a?pin=hunter2", { schemes, requests }) }
}

const hangs: Unwrap = () => new Promise<never>(() => {})

test("a path and a file URL name the same directory, which may contain blanks", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unseal-rings-"))
  const keys = join(directory, "two words")
  await mkdir(keys)
  await copyFile(
    join(import.meta.dirname, "../../../../test/vectors/openssl-zero/key.pem"),
    join(keys, "a.pem"),
  )
  for (const location of [keys, pathToFileURL(keys).href, `FILE://${keys.replace(" ", "%20")}/`]) {
    const ring = await openKeyRing(location)
    expect(ring.location).toBe(keys)
    expect(ring.describe()).toMatchObject([{ name: "a.pem" }])
    await ring.close()
  }
  await rm(directory, { recursive: true })
})

test.each([
  ["awskms:///alias/archives", "has the unknown scheme awskms: (known are a path, file:///directory)"],
  [
    "pkcs11:token=a;pin-value=hunter2",
    "has the unknown scheme pkcs11: (known are a path, file:///directory)",
  ],
  ["file://keys", "must be file:///directory, with three slashes and nothing after the path"],
  ["file:keys", "must be file:///directory, with three slashes and nothing after the path"],
  [
    "file:///keys?profile=hunter2",
    "must be file:///directory, with three slashes and nothing after the path",
  ],
  ["file:///keys%zz", "must be file:///directory, with three slashes and nothing after the path"],
  ["constructor:x", "has the unknown scheme constructor: (known are a path, file:///directory)"],
])("%s is refused before anybody is asked, and not repeated", async (location, problem) => {
  expect(keyRingProblem(location)).toBe(problem)
  await expect(openKeyRing(location)).rejects.toThrow(new RangeError(`key ring ${problem}`))
})

test("a registered scheme is known, beside paths", async () => {
  const { schemes } = remote([async () => null])
  for (const fine of ["fake://keys/a", "FAKE://keys/a", "/keys", "./odd:name", "keys"])
    expect(keyRingProblem(fine, schemes), fine).toBeNull()
  expect(keyRingProblem("fake:keys", schemes)).toBe("must have two slashes")
  expect(keyRingProblem("awskms:x", schemes)).toBe(
    "has the unknown scheme awskms: (known are a path, fake://keys/NAME)",
  )
})

test("a service that fails and then answers is asked again, even while it is opened", async () => {
  const fails = async () => Promise.reject(away())
  const { seen, open } = remote([fails, fails, async () => unwrapped], [fails])
  const ring = await open()
  expect(await ring.unwrap(new Uint8Array(), never)).toEqual(unwrapped)
  expect(seen).toMatchObject({ openings: 2, requests: 3 })
  expect(seen.retried).toEqual(Array(3).fill("ERR_KEY_SERVICE_UNAVAILABLE"))
  expect(seen.outcomes).toEqual(["unavailable", "ok", "unavailable", "unavailable", "ok"])
  await ring.close()
  expect(seen.closed).toBe(1)
})

test("a service that is away stays a trouble of the deployment, after three tries", async () => {
  const { seen, open } = remote([async () => Promise.reject(away())])
  const error = { code: "ERR_KEY_SERVICE_UNAVAILABLE", owner: "deployment", kind: "transient" }
  await expect((await open()).unwrap(new Uint8Array(), never)).rejects.toMatchObject(error)
  expect(seen.requests).toBe(3)
})

test("a service that refuses is not asked again", async () => {
  const refused = new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "access denied", { refused: true })
  const { seen, open } = remote([async () => Promise.reject(refused)])
  await expect((await open()).unwrap(new Uint8Array(), never)).rejects.toBe(refused)
  expect(seen.requests).toBe(1)
  expect(seen.outcomes).toEqual(["ok", "denied"])
})

test("a key that does not fit is an answer, and a fault of ours is not retried", async () => {
  const fault = new TypeError("bug")
  const { seen, open } = remote([async () => null, async () => Promise.reject(fault)])
  const ring = await open()
  expect(await ring.unwrap(new Uint8Array(), never)).toBeNull()
  await expect(ring.unwrap(new Uint8Array(), never)).rejects.toBe(fault)
  expect(seen).toMatchObject({ requests: 2, retried: [] })
})

test("a service that never answers is given up, each try with its own signal; a late result is wiped", async () => {
  const late = { password: new Uint8Array(64).fill(1), keyId: "ab" }
  const deferred = Promise.withResolvers<UnwrappedPassword>()
  const { seen, open } = remote([() => deferred.promise, hangs])
  const ring = await open()
  await expect(ring.unwrap(new Uint8Array(), never)).rejects.toMatchObject({
    ...{ code: "ERR_KEY_SERVICE_UNAVAILABLE", owner: "deployment" },
    message: "key ring fake://keys/a: no answer for 0.1 s",
  })
  expect(seen.signals.map(({ aborted }) => aborted)).toEqual([true, true, true])
  deferred.resolve(late)
  await expect.poll(() => late.password.every((byte) => byte === 0)).toBe(true)
})

test("a ring that opens too late is closed, and another try may have worked meanwhile", async () => {
  const deferred = Promise.withResolvers<void>()
  const { seen, open } = remote([async () => null], [() => deferred.promise])
  await open()
  expect(seen).toMatchObject({ openings: 2, closed: 0 })
  deferred.resolve()
  await expect.poll(() => seen.closed).toBe(1)
})

test("a slow service is waited for", async () => {
  const slow = () => new Promise<UnwrappedPassword>((resolve) => setTimeout(resolve, 20, unwrapped))
  const { seen, open } = remote([slow])
  expect(await (await open()).unwrap(new Uint8Array(), never)).toEqual(unwrapped)
  expect(seen.retried).toEqual([])
})

test("an abort ends the wait with its own reason, before, during and between tries", async () => {
  const reason = new Error("shutdown")
  for (const answer of [hangs, async () => Promise.reject(away())]) {
    const { seen, open } = remote([answer])
    const ring = await open()
    await expect(ring.unwrap(new Uint8Array(), AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(seen.requests).toBe(0)
    const abort = new AbortController()
    const waiting = ring.unwrap(new Uint8Array(), abort.signal)
    await expect.poll(() => seen.requests).toBe(1)
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  }
})

test("a directory that hangs is given up after one try, because a second would wait behind the first", async () => {
  const { seen, schemes } = remote([hangs])
  const local = { fake: { ...schemes.fake!, isRemote: false } }
  const ring = await openKeyRing("fake://keys/a", { schemes: local, requests: { timeoutMs: 100 } })
  await expect(ring.unwrap(new Uint8Array(), never)).rejects.toMatchObject({
    code: "ERR_KEY_SERVICE_UNAVAILABLE",
  })
  expect(seen.requests).toBe(1)
})
