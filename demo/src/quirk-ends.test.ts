import { QUIRK_NAMES } from "@unseal/simulator/s3/quirks/quirks"
import { expect, test } from "vitest"
import { leavesOf, parametersOf, QUIRK_ENDS, quirkRuns, sentenceOf } from "./quirk-ends.ts"

test("every quirk of the S3 server has an expected end, and is run", () => {
  expect(Object.keys(QUIRK_ENDS).toSorted()).toEqual(QUIRK_NAMES.toSorted())
  expect([...new Set(quirkRuns().map(({ quirk }) => quirk))].toSorted()).toEqual(QUIRK_NAMES.toSorted())
})

test("a quirk that a URL parameter changes is run with and without it", () => {
  const runs = quirkRuns().filter(({ quirk }) => quirk === "demands-owner")
  expect(runs.map(({ plainUrls, sentence }) => [plainUrls, sentence === undefined])).toEqual([
    [false, true],
    [true, false],
  ])
  for (const [quirk, { parameters, sentence }] of Object.entries(QUIRK_ENDS))
    if (parameters) expect(sentence, quirk).toBeDefined()
})

test("one quirk has one end; several together promise equal archives", () => {
  expect(sentenceOf([], false)).toBeUndefined()
  expect(sentenceOf(["archived"], false)).toBe(QUIRK_ENDS.archived.sentence)
  expect(sentenceOf(["demands-acl"], false)).toBeUndefined()
  expect(sentenceOf(["demands-acl"], true)).toBe(QUIRK_ENDS["demands-acl"].sentence)
  expect(sentenceOf(["archived", "long-etags"], false)).toBeUndefined()
  expect(parametersOf(["demands-acl", "demands-tagging", "archived"])).toEqual({
    source: {},
    destination: { acl: "bucket-owner-full-control", tagging: "team=media" },
  })
})

test("a sentence leaves nothing at the destination, unless the quirk spares some archives", () => {
  expect(leavesOf(["denied"])).toBe("nothing")
  expect(leavesOf(["complete-lost"])).toBe("whole archives")
  expect(leavesOf(["complete-short"])).toBe("torn archives")
  expect(leavesOf(["complete-short", "denied"])).toBe("nothing")
  for (const [quirk, { leaves, sentence }] of Object.entries(QUIRK_ENDS))
    if (leaves) expect(sentence, quirk).toBeDefined()
})
