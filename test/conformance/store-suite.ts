/**
 * One suite for every adapter, on a real server. It verifies `store/contract.ts`, sentence by sentence. It runs on the bare
 * adapter without retries, so that an adapter that hides a failure can't pass.
 */
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest"
import { describeReads } from "./suite/reads.ts"
import { describeRefusals } from "./suite/refusals.ts"
import type { Lack, StoreUnderTest } from "./suite/store-under-test.ts"
import { describeUploads } from "./suite/uploads.ts"
import { describeWrites } from "./suite/writes.ts"

export function describeStore(
  name: string,
  setup: () => Promise<StoreUnderTest>,
  lacks: readonly Lack[] = [],
): void {
  describe(name, () => {
    let under: StoreUnderTest
    const given = () => under

    beforeAll(async () => {
      under = await setup()
    })
    afterEach(async () => {
      expect(await under.openUploadCount()).toBe(0)
    })
    afterAll(() => under?.close())

    describeReads(given)
    describeWrites(given)
    describeUploads(given, lacks)
    describeRefusals(given, lacks)
  })
}
