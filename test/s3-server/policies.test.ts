import { describe, expect, it } from "vitest"
import type { PolicyDocument } from "../../apps/simulator/src/s3/access/policies.ts"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { QUIRK_NAMES } from "../../apps/simulator/src/s3/quirks/quirks.ts"
import { BODY, get, head, MIB, put, request, server } from "./quirky-server.ts"
import { CREDENTIALS, type PlainRequest, presigned, send, signed } from "./signed-request.ts"

describe("an access key that quirks do not affect", () => {
  const vendor = { accessKeyId: "AKIDVENDOR", secretAccessKey: "the vendor's own" }
  const key = { method: "PUT", path: "/archives/by-vendor", body: BODY } as const

  it.each(QUIRK_NAMES)("uploads as to S3, whatever others get (%s)", async (name) => {
    const quirky = await startS3Server({
      credentials: [CREDENTIALS, vendor],
      buckets: ["archives"],
      quirks: [name],
      exemptFromQuirks: [vendor.accessKeyId],
    })
    try {
      const ask = async (plain: PlainRequest) => send(quirky.url, await signed(quirky.url, plain, vendor))
      // More requests than any quirk counts.
      for (let nth = 0; nth < 15; nth++) expect((await ask(key)).status).toBe(200)
      const path = "/archives/in-parts"
      const begun = await ask({ method: "POST", path, query: { uploads: "" } })
      const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(begun.body.toString())![1]!
      const parts: string[] = []
      for (const [index, size] of [5 * MIB, 6 * MIB, 1].entries()) {
        const query = { partNumber: String(index + 1), uploadId }
        const { headers } = await ask({ method: "PUT", path, query, body: Buffer.alloc(size) })
        parts.push(`<Part><PartNumber>${index + 1}</PartNumber><ETag>${headers.etag}</ETag></Part>`)
      }
      const body = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`
      expect((await ask({ method: "POST", path, query: { uploadId }, body })).status).toBe(200)
      const whole = await ask({ method: "HEAD", path })
      expect(whole).toMatchObject({ status: 200, headers: { "content-length": String(11 * MIB + 1) } })
    } finally {
      await quirky.close()
    }
  })

  it("is recognised in a presigned URL, and leaves the others affected", async () => {
    const denied = await startS3Server({
      credentials: [CREDENTIALS, vendor],
      buckets: ["archives"],
      quirks: ["denied"],
      exemptFromQuirks: [vendor.accessKeyId],
    })
    try {
      expect((await send(denied.url, await signed(denied.url, key, vendor))).status).toBe(200)
      const read = { method: "GET", path: key.path }
      const statuses = [vendor, CREDENTIALS].map(
        async (one) => (await send(denied.url, await presigned(denied.url, read, one))).status,
      )
      expect(await Promise.all(statuses)).toEqual([200, 403])
      const forged = { ...vendor, secretAccessKey: "guessed" }
      expect(await send(denied.url, await signed(denied.url, key, forged))).toMatchObject({
        code: "SignatureDoesNotMatch",
      })
    } finally {
      await denied.close()
    }
  })

  it("writes objects with the store's ETags, which their readers must see", async () => {
    const long = await startS3Server({
      credentials: [CREDENTIALS, vendor],
      buckets: ["archives"],
      quirks: ["long-etags"],
      exemptFromQuirks: [vendor.accessKeyId],
    })
    try {
      await send(long.url, await signed(long.url, key, vendor))
      const { headers } = await send(long.url, await signed(long.url, { method: "HEAD", path: key.path }))
      expect(headers.etag).toHaveLength(202)
    } finally {
      await long.close()
    }
  })
})

describe("a server with policies", () => {
  const allow = (...Action: string[]): PolicyDocument => ({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action, Resource: "arn:aws:s3:::archives/*" }],
  })

  it("does what is allowed, and names the missing permission", async () => {
    server.policies.set(CREDENTIALS.accessKeyId, allow("s3:GetObject"))
    expect((await request(get("object"))).status).toBe(200)
    const refused = await request(put("object"))
    expect(refused).toMatchObject({ status: 403, code: "AccessDenied" })
    expect(refused.body.toString()).toContain("not authorized to perform: s3:PutObject")
    server.policies.delete(CREDENTIALS.accessKeyId)
    expect((await request(put("object"))).status).toBe(200)
  })

  it("reports a missing key only to users who may list the bucket", async () => {
    server.policies.set(CREDENTIALS.accessKeyId, allow("s3:GetObject"))
    expect((await request(head("none"))).status).toBe(403)
    const Statement = [
      allow("s3:Get*").Statement,
      { Effect: "Allow", Action: "s3:ListBucket", Resource: "arn:aws:s3:::archives" } as const,
    ].flat()
    server.policies.set(CREDENTIALS.accessKeyId, { Statement })
    expect((await request(head("none"))).status).toBe(404)
    expect((await request(get(""))).status).toBe(200)
  })

  it("requires an extra permission if a header asks for tags or an ACL", async () => {
    for (const [name, value, action] of [
      ["x-amz-tagging", "team=media", "s3:PutObjectTagging"],
      ["x-amz-acl", "private", "s3:PutObjectAcl"],
    ] as const) {
      const asked = { ...put("object"), headers: { [name]: value } }
      server.policies.set(CREDENTIALS.accessKeyId, allow("s3:PutObject"))
      expect((await request(asked)).body.toString()).toContain(`not authorized to perform: ${action}`)
      server.policies.set(CREDENTIALS.accessKeyId, allow("s3:PutObject", action))
      expect((await request(asked)).status).toBe(200)
    }
  })

  it("respects the resource", async () => {
    server.policies.set(CREDENTIALS.accessKeyId, {
      Statement: { Effect: "Allow", Action: "s3:*", Resource: "arn:aws:s3:::archives/allowed/*" },
    })
    expect((await request(put("allowed/key"))).status).toBe(200)
    expect((await request(put("other/key"))).status).toBe(403)
  })
})
