import { expect, test } from "vitest"
import { placeKeyOf, storeUrlProblem } from "./store-url-check.ts"

test("an access point's ARN can take the place of a bucket's name", () => {
  const arn = "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/media/a?profile=x"
  expect(storeUrlProblem(arn)).toBeNull()
  expect(placeKeyOf(arn, "{archiveId}")).not.toBe(placeKeyOf("s3://media/a", "{archiveId}"))
  expect(placeKeyOf(arn, "{archiveId}")).toBe(placeKeyOf(arn.replace("/a?", "?"), "a/{archiveId}"))
})
