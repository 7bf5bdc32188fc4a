import { afterEach, expect, it, vi } from "vitest"
import { createAccess } from "./access.ts"

afterEach(() => vi.unstubAllEnvs())

/** Where the SDK sends requests for the objects of `bucket`, and for which region it signs them. */
async function placeOf(bucket: string, config: Readonly<Record<string, unknown>> = {}) {
  const credentials = { accessKeyId: "a", secretAccessKey: "b" }
  const access = createAccess(
    bucket,
    { region: "eu-west-1", credentials, ...config },
    { begin: {}, other: {} },
    () => {},
  )
  const { request } = await access.signing()
  return `${request.hostname}${request.path}`
}

it("a bucket is reached where the SDK reaches it: by name, alias or access point", async () => {
  expect(await placeOf("media")).toBe("media.s3.eu-west-1.amazonaws.com/")
  expect(await placeOf("media-123-s3alias")).toBe("media-123-s3alias.s3.eu-west-1.amazonaws.com/")
  expect(await placeOf("arn:aws:s3:eu-west-1:111122223333:accesspoint/media")).toBe(
    "media-111122223333.s3-accesspoint.eu-west-1.amazonaws.com/",
  )
})

it("AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT apply to every path", async () => {
  vi.stubEnv("AWS_USE_FIPS_ENDPOINT", "true")
  const us = { region: "us-east-1" }
  expect(await placeOf("media", us)).toBe("media.s3-fips.us-east-1.amazonaws.com/")
  vi.stubEnv("AWS_USE_DUALSTACK_ENDPOINT", "true")
  expect(await placeOf("media", us)).toBe("media.s3-fips.dualstack.us-east-1.amazonaws.com/")
  expect(await placeOf("arn:aws:s3:us-east-1:111122223333:accesspoint/media", us)).toBe(
    "media-111122223333.s3-accesspoint-fips.dualstack.us-east-1.amazonaws.com/",
  )
})

it("AWS_ENDPOINT_URL_S3 applies to every path, and takes precedence over AWS_ENDPOINT_URL", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL", "http://other.test:9000")
  vi.stubEnv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
  expect(await placeOf("media", { forcePathStyle: true })).toBe("127.0.0.1/media/")
})
