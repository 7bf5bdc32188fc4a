import { expect, test } from "vitest"
import { locationOf, storeUrlProblem } from "./store-location.ts"

test("an access point's ARN stands where a bucket's name does", () => {
  const arn = "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/media/a?profile=x"
  expect(storeUrlProblem(arn)).toBeNull()
  expect(locationOf(arn, "{archiveId}")).not.toBe(locationOf("s3://media/a", "{archiveId}"))
  expect(locationOf(arn, "{archiveId}")).toBe(locationOf(arn.replace("/a?", "?"), "a/{archiveId}"))
})
