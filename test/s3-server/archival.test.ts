/** Objects in archival classes, as the SDK sees them. */
import {
  CopyObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  RestoreObjectCommand,
  type RestoreRequest,
} from "@aws-sdk/client-s3"
import { expect, it } from "vitest"
import { Bucket, client, failure, put } from "./sdk-client.ts"

const get = (Key: string) => client.send(new GetObjectCommand({ Bucket, Key }))
const head = (Key: string) => client.send(new HeadObjectCommand({ Bucket, Key }))
const restore = (Key: string, request: RestoreRequest = { Days: 1 }) =>
  client.send(new RestoreObjectCommand({ Bucket, Key, RestoreRequest: request }))
const copy = (Key: string, from: string, more: object = {}) =>
  client.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${from}`, ...more }))

it("an archived object can be looked at and listed, but neither read nor copied before it is restored", async () => {
  await put("cold", "bytes", { StorageClass: "GLACIER" })
  expect(await head("cold")).toMatchObject({ StorageClass: "GLACIER", ContentLength: 5 })
  const { Contents } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "cold" }))
  expect(Contents).toMatchObject([{ Key: "cold", StorageClass: "GLACIER" }])
  expect(await failure(get("cold"))).toBe("InvalidObjectState 403")
  expect(await failure(copy("warm", "cold"))).toBe("ObjectNotInActiveTierError 403")

  expect(
    (await restore("cold", { Days: 1, GlacierJobParameters: { Tier: "Bulk" } })).$metadata.httpStatusCode,
  ).toBe(202)
  expect(await head("cold")).toMatchObject({ Restore: 'ongoing-request="true"' })
  expect(await failure(restore("cold"))).toBe("RestoreAlreadyInProgress 409")
  await expect
    .poll(async () => (await head("cold")).Restore, { timeout: 30_000 })
    .toMatch(/^ongoing-request="false", expiry-date="\w{3}, .* GMT"$/)
  expect(await (await get("cold")).Body!.transformToString()).toBe("bytes")
  expect((await restore("cold", { Days: 3 })).$metadata.httpStatusCode).toBe(200)
  await copy("warm", "cold")
  expect((await head("warm")).StorageClass).toBeUndefined()
})

it("an object that moves to an archival class by a copy onto itself is archived", async () => {
  await put("moved", "bytes")
  await copy("moved", "moved", { StorageClass: "DEEP_ARCHIVE" })
  expect(await failure(get("moved"))).toBe("InvalidObjectState 403")
})

it("a restore that asks for what there is not is refused", async () => {
  await put("plain", "bytes", { StorageClass: "STANDARD_IA" })
  await put("deep", "bytes", { StorageClass: "DEEP_ARCHIVE" })
  expect(await failure(restore("plain"))).toBe("InvalidObjectState 403")
  expect(await failure(restore("absent"))).toBe("NoSuchKey 404")
  expect(await failure(restore("deep", {}))).toBe("MalformedXML 400")
  expect(await failure(restore("deep", { Days: 0 }))).toBe("MalformedXML 400")
  const expedited = { Days: 1, GlacierJobParameters: { Tier: "Expedited" } } as const
  expect(await failure(restore("deep", expedited))).toBe("InvalidArgument 400")
})
