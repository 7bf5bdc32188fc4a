import { isUnsealError } from "@unseal/archive/errors"
import fc from "fast-check"
import { expect, test } from "vitest"
import { createJobPayload, type JobPayload, jobIdOf, parseJobPayload } from "./job.ts"
import { laneOf } from "./lane.ts"

const FIELDS: Omit<JobPayload, "version"> = {
  projectId: "100001",
  archiveId: "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
  encryptedPassword: "c2VjcmV0LXdyYXBwZWQ=",
  status: "uploaded",
  receivedAt: "2026-01-02T03:04:05.678Z",
  nonce: "n1",
}

function problemOf(value: unknown): string {
  try {
    parseJobPayload(value)
  } catch (error) {
    if (isUnsealError(error, "ERR_JOB_INVALID")) return error.message
    throw error
  }
  return "none"
}

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length })
const uuid = fc.uuid()
const payloads = fc
  .record(
    {
      projectId: fc.oneof(fc.nat().map(String), uuid),
      archiveId: uuid,
      encryptedPassword: fc.base64String({ minLength: 4, maxLength: 4096 }),
      size: fc.maxSafeNat(),
      sha256sum: fc.base64String({ maxLength: 88 }),
      url: fc.webUrl({ validSchemes: ["https"], withQueryParameters: true }),
      sourceKey: fc.constantFrom("old/a.ts", "2021/ü b/archive.mp4"),
      status: fc.constantFrom("uploaded", "available"),
      receivedAt: fc
        .date({ noInvalidDate: true, min: new Date(0), max: new Date("2100-01-01") })
        .map((date) => date.toISOString()),
      nonce: uuid,
      lane: fc.constant("bulk" as const),
      traceparent: fc.tuple(hex(32), hex(16)).map(([trace, span]) => `00-${trace}-${span}-01`),
    },
    { requiredKeys: ["projectId", "archiveId", "encryptedPassword", "status", "receivedAt", "nonce"] },
  )
  .map((fields) => fields as Omit<JobPayload, "version">)

test("parsing gives what was created, even after JSON", () => {
  fc.assert(
    fc.property(payloads, (fields) => {
      const created = createJobPayload(fields)
      expect(created).toEqual({ version: 1, ...fields })
      expect(parseJobPayload(JSON.parse(JSON.stringify(created)))).toEqual(created)
    }),
  )
})

test("a job id has no colon, is not a number, and is the same for all callbacks of one archive and password", () => {
  fc.assert(
    fc.property(payloads, payloads, (one, other) => {
      const id = jobIdOf(one)
      expect(id).toMatch(/^[0-9A-Za-z-]+_[0-9a-f-]{36}_[0-9a-f]{16}$/)
      const { projectId, archiveId, encryptedPassword } = one
      expect(jobIdOf({ ...other, projectId, archiveId, encryptedPassword })).toBe(id)
      if (other.encryptedPassword !== encryptedPassword)
        expect(jobIdOf({ ...one, encryptedPassword: other.encryptedPassword })).not.toBe(id)
    }),
  )
})

test("no message holds a value of the payload, whatever is wrong with it", () => {
  const secret = "U0VDUkVULUNBTkFSWQ"
  const wrong = fc.oneof(
    ...[fc.constant(undefined), fc.constant(null), fc.integer(), fc.constant({ [secret]: secret })],
    ...[fc.constant([secret]), fc.constant(secret.repeat(300)), fc.constant("")],
  )
  const field = fc.constantFrom(...Object.keys(FIELDS), "size", "sha256sum", "traceparent")
  fc.assert(
    fc.property(fc.dictionary(field, wrong, { minKeys: 1 }), (damage) => {
      const message = problemOf({ ...FIELDS, version: 1, encryptedPassword: secret, ...damage })
      expect(message).not.toContain(secret)
    }),
  )
})

test("every problem is named at once", () => {
  const message = problemOf({ version: 1, projectId: "../etc", archiveId: "x", size: -1 })
  for (const name of ["projectId", "archiveId", "encryptedPassword", "size", "status", "receivedAt", "nonce"])
    expect(message).toContain(`${name}: `)
})

test("another version is refused by its number", () => {
  expect(problemOf({ ...FIELDS, version: 2 })).toBe("job payload version 2 is not 1")
  expect(problemOf(FIELDS)).toContain("version")
})

test("anything but an object is refused", () => {
  for (const value of [undefined, null, 7, "text", []]) expect(problemOf(value)).toContain("malformed")
})

test("unknown fields, even hostile ones, are dropped", () => {
  const hostile = JSON.parse(`{"__proto__":{"polluted":true},"constructor":1,"extra":1}`) as object
  const payload = parseJobPayload({ ...FIELDS, version: 1, ...hostile })
  expect(payload).toEqual({ ...FIELDS, version: 1 })
  expect(Object.getPrototypeOf(payload)).toBe(Object.prototype)
})

test("a job without a lane is live, and so is one with an unknown lane", () => {
  const payload = { ...FIELDS, version: 1 as const }
  expect(laneOf(parseJobPayload(payload))).toBe("live")
  expect(laneOf(parseJobPayload({ ...payload, lane: "bulk" }))).toBe("bulk")
  for (const lane of ["live", "fast", 7, null, {}])
    expect(parseJobPayload({ ...payload, lane })).toEqual(payload)
})

test("a damaged trace is left out, and the archive is decrypted all the same", () => {
  const damaged = { traceparent: "x", tracestate: 7, tracelink: "00-x", version: 1 }
  expect(parseJobPayload({ ...FIELDS, ...damaged })).toEqual({ ...FIELDS, version: 1 })
})

test.each([
  ["/old/a.ts", 'must not begin or end with "/"'],
  ["old//a.ts", 'must not begin or end with "/"'],
  ["../other/a.ts", 'must not begin or end with "/"'],
  ["", 'must not begin or end with "/"'],
  ["s3://bucket/a.ts", "must be the key below the source, and not a URL"],
  ["a\nb", "must not hold control characters"],
  ["ä".repeat(513), "must have at most 1024 bytes"],
])("a source key %j is refused, because it could lead out of the source", (sourceKey, problem) => {
  expect(problemOf({ version: 1, ...FIELDS, sourceKey })).toContain(`sourceKey: ${problem}`)
})
