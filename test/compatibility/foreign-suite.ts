import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { describeStore } from "../conformance/store-suite.ts"
import { type Abilities, probeAbilities } from "./abilities.ts"
import { decryptByHand } from "./by-hand.ts"
import { type ForeignS3, foreignStore } from "./foreign-store.ts"

/** The conformance suite, the command line and what is known of the server's abilities, on one server. */
export function describeForeign(
  name: string,
  start: () => Promise<ForeignS3>,
  abilities: Abilities,
  lacks: NonNullable<Parameters<typeof describeStore>[2]>,
): void {
  describe(name, () => {
    let server: ForeignS3
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server?.close())

    describeStore("the S3 store", () => foreignStore(server, "conformance"), lacks)

    it("has the abilities that docs/compatibility.md says", async () => {
      expect(await probeAbilities(server)).toEqual(abilities)
    })

    it("is read and written by the command line, with openssl's result", () => decryptByHand(server))
  })
}
