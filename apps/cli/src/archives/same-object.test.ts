import type { OpenedStore } from "@unseal/archive/store/contract"
import { splitObjectUrl } from "@unseal/archive/store/url"
import { expect, test } from "vitest"
import type { Location } from "./location.ts"
import { isSameObject } from "./same-object.ts"

function at(name: string): Location {
  const { store: url, key } = splitObjectUrl(name)
  return { store: {} as OpenedStore, url, key, name, marks: true }
}
const local = "endpoint=http%3A%2F%2F127.0.0.1%3A9000"

test.each([
  ["s3://bbb/a/x.ts", "s3://bbb/a/x.ts", true],
  ["s3://bbb/a/x.ts?region=eu-west-1", "s3://bbb/a%2Fx.ts?region=us-east-1&profile=p", true],
  ["s3://bbb/a%20b.ts", "s3://bbb/a b.ts", true],
  ["s3://bbb/x.ts", "s3://bbb/x.ts?endpoint=https%3A%2F%2Fs3.eu-west-1.amazonaws.com", true],
  [`s3://bbb/x.ts?${local}`, `s3://bbb/x.ts?${local}&pathStyle=true`, true],
  [`s3://bbb/x.ts?${local}`, "s3://bbb/x.ts", false],
  ["s3://bbb/x.ts", "s3://ccc/x.ts", false],
  ["s3://bbb/x.ts", "s3://bbb/y.ts", false],
  ["azure://con/x.ts?account=a", "azure://con/x.ts?account=a", true],
  ["azure://con/x.ts?account=a", "azure://con/x.ts?account=b", false],
])("%s and %s: one object is %s", async (from, to, same) => {
  expect(await isSameObject(at(from), at(to))).toBe(same)
})
