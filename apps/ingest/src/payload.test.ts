import { randomUUID } from "node:crypto"
import { parseJobPayload, payloadOf } from "@unseal/queue/jobs/job"
import { readCallback } from "@unseal/vendor/callback"
import fc from "fast-check"
import { expect, test } from "vitest"

/** Values that a field may have, and some that it may not have. */
const anything = fc.oneof(
  fc.string({ maxLength: 130 }),
  fc.string({ minLength: 4_000, maxLength: 4_200, size: "max" }),
  fc.double(),
  fc.integer(),
  fc.constantFrom(null, true, [], {}, "", "0", "9007199254740992", "https://", "https://host/archive?query"),
)
const either = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: usual, weight: 4 }, { arbitrary: anything, weight: 1 })

const callbacks = fc.record(
  {
    id: either(fc.uuid()),
    status: either(fc.constantFrom("uploaded", "available")),
    password: either(fc.base64String({ minLength: 4, maxLength: 700 })),
    event: fc.constantFrom("archive", null),
    size: either(fc.nat()),
    sha256sum: either(fc.base64String({ maxLength: 64 })),
    url: either(fc.webUrl({ validSchemes: ["https"] })),
    partnerId: either(fc.constantFrom(100001, "100001")),
  },
  { requiredKeys: ["id", "status", "password"] },
)

test("a parsed callback is a valid payload, and needs no second validation", () => {
  let taken = 0
  fc.assert(
    fc.property(callbacks, (json) => {
      let callback: ReturnType<typeof readCallback>
      try {
        callback = readCallback(json, "100001")
      } catch {
        return
      }
      if ("ignored" in callback) return
      const rest = { receivedAt: new Date().toISOString(), nonce: randomUUID() }
      const payload = payloadOf({ ...callback, projectId: "100001", ...rest })
      // As Redis keeps it: JSON has no negative zero, which a callback's size may be.
      const kept = JSON.parse(JSON.stringify(payload))
      expect(parseJobPayload(kept)).toEqual(kept)
      taken++
    }),
    { numRuns: 2_000 },
  )
  expect(taken).toBeGreaterThan(200)
})
