import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { describe, expect, it } from "vitest"
import { startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { QUIRK_NAMES, QUIRKS, type QuirkName } from "../../apps/simulator/src/s3/quirks/quirks.ts"
import { BODY, get, head, MIB, put, request, server } from "./quirky-server.ts"
import { CREDENTIALS } from "./signed-request.ts"

const HOUR_MS = 3_600_000

/** An upload with parts of these sizes, up to the answer of Complete. */
async function upload(
  key: string,
  sizes: readonly number[],
  more: { condition?: true; checksums?: true } = {},
) {
  const path = `/archives/${key}`
  const begun = await request({
    method: "POST",
    path,
    query: { uploads: "" },
    headers: more.checksums ? { "x-amz-checksum-algorithm": "CRC32" } : {},
  })
  if (begun.status !== 200) return begun
  const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(begun.body.toString())![1]!
  const parts: string[] = []
  for (const [index, size] of sizes.entries()) {
    const query = { partNumber: String(index + 1), uploadId }
    const response = await request({ method: "PUT", path, query, body: Buffer.alloc(size) })
    const checksum = response.headers["x-amz-checksum-crc32"]
    parts.push(
      `<Part><PartNumber>${index + 1}</PartNumber><ETag>${response.headers.etag}</ETag>${checksum ? `<ChecksumCRC32>${checksum}</ChecksumCRC32>` : ""}</Part>`,
    )
  }
  return request({
    method: "POST",
    path,
    query: { uploadId },
    headers: more.condition ? { "if-none-match": "*" } : {},
    body: `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`,
  })
}

function crc32Of(body: Buffer): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(body))
  return bytes.toString("base64")
}

describe("a server with quirks", () => {
  const md5 = createHash("md5").update(BODY).digest("base64")
  const checksum = { "x-amz-checksum-crc32": crc32Of(BODY) }
  const answers: Readonly<Record<QuirkName, () => Promise<void>>> = {
    async denied() {
      expect(await request(get("object"))).toMatchObject({ status: 403, code: "AccessDenied" })
    },
    async "hidden-keys"() {
      expect(await request(get("object"))).toMatchObject({ status: 200, body: BODY })
      expect(await request(get("none"))).toMatchObject({ status: 403, code: "AccessDenied" })
      expect(await request(head("none"))).toMatchObject({ status: 403 })
      expect(await request(get(""))).toMatchObject({ status: 403, code: "AccessDenied" })
    },
    async "plain-denials"() {
      server.policies.set(CREDENTIALS.accessKeyId, { Statement: [] })
      expect((await request(get("object"))).body.toString()).not.toContain("s3:GetObject")
      server.quirks.delete("plain-denials")
      expect((await request(get("object"))).body.toString()).toContain("s3:GetObject")
      server.policies.delete(CREDENTIALS.accessKeyId)
      server.quirks.add("plain-denials")
    },
    async archived() {
      expect(await request(get("object"))).toMatchObject({ status: 403, code: "InvalidObjectState" })
      const { status, headers } = await request(head("object"))
      expect([status, headers["x-amz-storage-class"]]).toEqual([200, "GLACIER"])
    },
    "slow-down": () => expectSlowDown(3, undefined),
    "retry-after": () => expectSlowDown(3, "1"),
    "too-many-429": () => expectSlowDown(3, undefined, { status: 429, code: "TooManyRequests" }),
    async "slow-down-writes"() {
      await expectSlowDown(2, undefined)
      const reading = await Promise.all(Array.from({ length: 5 }, () => request(get("object"))))
      expect(new Set(reading.map(({ status }) => status))).toEqual(new Set([200]))
    },
    async "lone-403"() {
      const statuses: number[] = []
      for (let asked = 1; asked <= 14; asked++) statuses.push((await request(get("object"))).status)
      expect(statuses.flatMap((status, index) => (status === 403 ? [index + 1] : []))).toEqual([7, 14])
    },
    "demands-sse-kms": () =>
      expectDemand({
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/x",
      }),
    "demands-acl": () => expectDemand({ "x-amz-acl": "bucket-owner-full-control" }),
    "demands-tagging": () => expectDemand({ "x-amz-tagging": "team=media" }),
    "demands-storage-class": () => expectDemand({ "x-amz-storage-class": "STANDARD_IA" }),
    async "demands-owner"() {
      const owner = (number: string) => ({ "x-amz-expected-bucket-owner": number })
      expect(await request(get("object"))).toMatchObject({ status: 403, code: "AccessDenied" })
      expect((await request({ ...get("object"), headers: owner("111122223333") })).status).toBe(200)
      expect((await request({ ...get("object"), headers: owner("999999999999") })).status).toBe(403)
    },
    async "requester-pays"() {
      expect(await request(get("object"))).toMatchObject({ status: 403, code: "AccessDenied" })
      const headers = { "x-amz-request-payer": "requester" }
      expect((await request({ ...get("object"), headers })).status).toBe(200)
    },
    async "clock-ahead"() {
      await expectSkew(HOUR_MS)
    },
    async "clock-behind"() {
      await expectSkew(-HOUR_MS)
    },
    async "other-region-301"() {
      const response = await request(get("object"))
      expect(response).toMatchObject({ status: 301, code: "PermanentRedirect" })
      expect(response.headers["x-amz-bucket-region"]).toBe("eu-central-1")
      expect(await request(get("object"), { region: "eu-central-1" })).toMatchObject({ status: 200 })
    },
    async "other-region-400"() {
      const response = await request(get("object"))
      expect(response).toMatchObject({ status: 400, code: "AuthorizationHeaderMalformed" })
      expect(response.body.toString()).toContain("<Region>eu-central-1</Region>")
      expect(await request(get("object"), { region: "eu-central-1" })).toMatchObject({ status: 200 })
    },
    async "redirect-307"() {
      for (let i = 0; i < 10; i++) expect((await request(get("object"))).status).toBe(307)
      expect((await request(get("object"))).status).toBe(200)
    },
    async "expired-token"() {
      expect(await request(get("object"))).toMatchObject({ status: 400, code: "ExpiredToken" })
      expect(await request(get("object"), { accessKeyId: "OTHER" })).toMatchObject({ status: 403 })
      expect(await request(get("object"))).toMatchObject({ status: 400, code: "ExpiredToken" })
    },
    async "throttled-400"() {
      const statuses = []
      for (let i = 0; i < 14; i++) statuses.push((await request(get("object"))).status)
      expect(statuses.filter((status) => status === 400)).toHaveLength(2)
    },
    async "internal-errors"() {
      const statuses = []
      for (let i = 0; i < 14; i++) statuses.push((await request(get("object"))).status)
      expect(statuses.filter((status) => status === 500)).toHaveLength(2)
    },
    async "no-checksum-501"() {
      expect(await request(put("a", checksum))).toMatchObject({ status: 501, code: "NotImplemented" })
      expect(await upload("b", [1], { checksums: true })).toMatchObject({ status: 501 })
      expect(await request(put("a"))).toMatchObject({ status: 200 })
    },
    async "no-checksum-400"() {
      expect(await request(put("a", checksum))).toMatchObject({ status: 400, code: "InvalidArgument" })
      expect(await request(put("a"))).toMatchObject({ status: 200 })
    },
    async "checksums-ignored"() {
      expect(
        (await request(put("a", { "x-amz-checksum-crc32": "AAAAAA==" }))).headers["x-amz-checksum-crc32"],
      ).toBeUndefined()
    },
    async "object-lock"() {
      expect(await request(put("a"))).toMatchObject({ status: 400, code: "InvalidRequest" })
      expect(await request(put("a", checksum))).toMatchObject({ status: 200 })
      expect(await request(put("a", { "content-md5": md5 }))).toMatchObject({ status: 200 })
    },
    async "no-conditions-501"() {
      expect(await request(put("new", { "if-none-match": "*" }))).toMatchObject({ status: 501 })
      expect(await upload("new", [1], { condition: true })).toMatchObject({ status: 501 })
    },
    async "no-conditions-400"() {
      const refused = { status: 400, code: "InvalidArgument" }
      expect(await request(put("new", { "if-none-match": "*" }))).toMatchObject(refused)
      expect(await upload("new", [1], { condition: true })).toMatchObject(refused)
    },
    async "conditions-ignored"() {
      expect(await request(put("object", { "if-none-match": "*" }))).toMatchObject({ status: 200 })
    },
    async "complete-412-checksums"() {
      expect(await upload("a", [1], { checksums: true })).toMatchObject({ status: 412 })
      expect(await upload("a", [1])).toMatchObject({ status: 200 })
    },
    async "complete-412-condition"() {
      expect(await upload("none", [1], { condition: true })).toMatchObject({ status: 412 })
      expect(await upload("a", [1])).toMatchObject({ status: 200 })
    },
    async "equal-parts"() {
      expect(await upload("a", [5 * MIB, 6 * MIB, 1])).toMatchObject({ status: 400, code: "InvalidPart" })
      expect(await upload("a", [5 * MIB, 5 * MIB, 1])).toMatchObject({ status: 200 })
    },
    async "complete-lost"() {
      const response = await upload("lost", [5 * MIB, 1])
      expect([response.status, response.body.toString()]).toEqual([200, expect.stringContaining("<ETag>")])
      expect((await request(head("lost"))).status).toBe(404)
    },
    async "complete-short"() {
      expect((await upload("short", [5 * MIB, 1])).status).toBe(200)
      expect((await request(head("short"))).headers["content-length"]).toBe(String(5 * MIB))
      expect((await request(get("short"))).body.length).toBe(5 * MIB)
    },
    async "weak-etags"() {
      expect((await request(get("object"))).headers.etag).toMatch(/^W\/"[0-9a-f]{32}"$/)
    },
    async "no-etags"() {
      expect((await request(put("a"))).headers.etag).toBe("")
      expect((await request(head("object"))).headers.etag).toBe("")
    },
    async "bare-etags"() {
      expect((await request(put("a"))).headers.etag).toMatch(/^[0-9a-f]{32}$/)
      expect((await upload("b", [1])).body.toString()).toMatch(/<ETag>[0-9a-f]{32}-1<\/ETag>/)
    },
    async "long-etags"() {
      expect((await request(put("a"))).headers.etag).toMatch(/^"[0-9a-f]{200}"$/)
      expect((await upload("b", [5 * MIB, 1])).status).toBe(200)
    },
    async "kms-etags"() {
      const { headers } = await request(put("a"))
      expect(headers["x-amz-server-side-encryption"]).toBe("aws:kms")
      expect(headers.etag).not.toBe(`"${createHash("md5").update(BODY).digest("hex")}"`)
    },
    async "endless-listings"() {
      const page = await request({ ...get(""), query: { "list-type": "2", "continuation-token": "xyz" } })
      expect(page.body.toString()).toContain("<IsTruncated>true</IsTruncated>")
      expect(page.body.toString()).toContain("<Key>object</Key>")
    },
  }

  /** Sends that many slow PUTs and one more at once: the last is refused. When they are done, another is accepted. */
  async function expectSlowDown(
    most: number,
    retryAfter: string | undefined,
    refusal: { readonly status: number; readonly code: string } = { status: 503, code: "SlowDown" },
  ): Promise<void> {
    const slow = server.faults.add({
      operation: "PutObject",
      key: /slow/,
      times: Number.POSITIVE_INFINITY,
      action: { throttleBytesPerSecond: 2_000 },
    })
    const body = Buffer.alloc(1_000)
    const under = Array.from({ length: most }, (_, index) => request(put(`slow-${index}`, {}, body)))
    await expect
      .poll(() => server.operations.count("PutObject", ({ status, bytesIn }) => status === 0 && bytesIn > 0))
      .toBe(most)
    const refused = await request(put("refused"))
    expect(refused).toMatchObject(refusal)
    expect(refused.headers["retry-after"]).toBe(retryAfter)
    expect((await Promise.all(under)).map(({ status }) => status)).toEqual(Array(most).fill(200))
    slow.remove()
    expect((await request(put("taken"))).status).toBe(200)
  }

  /** Headers are demanded of a PUT and of a multipart upload's beginning, but not of its parts. */
  async function expectDemand(headers: Record<string, string>): Promise<void> {
    expect(await request(put("demanded"))).toMatchObject({ status: 403, code: "AccessDenied" })
    expect((await request(put("demanded", headers))).status).toBe(200)
    const begin = { method: "POST", path: "/archives/demanded", query: { uploads: "" } }
    expect((await request(begin)).status).toBe(403)
    const begun = await request({ ...begin, headers })
    const uploadId = /<UploadId>(.*)<\/UploadId>/.exec(begun.body.toString())![1]!
    const part = { ...put("demanded"), query: { partNumber: "1", uploadId } }
    expect((await request({ ...part, headers })).status).toBe(400)
    expect((await request(part)).status).toBe(200)
    await request({ method: "DELETE", path: "/archives/demanded", query: { uploadId } })
  }

  async function expectSkew(offsetMs: number) {
    const response = await request(get("object"))
    expect(response).toMatchObject({ status: 403, code: "RequestTimeTooSkewed" })
    expect(Math.abs(Date.parse(response.headers.date!) - Date.now() - offsetMs)).toBeLessThan(60_000)
    const signingDate = new Date(Date.now() + offsetMs)
    expect((await request(get("object"), { signingDate })).status).toBe(200)
  }

  for (const name of QUIRK_NAMES)
    it(`answers as a store that ${QUIRKS[name].meaning} (${name})`, async () => {
      server.quirks.add(name)
      await answers[name]()
      expect(server.quirks.delete(name)).toBe(true)
      expect(await request(put("object"))).toMatchObject({ status: 200 })
      expect(await request(get("object"))).toMatchObject({ status: 200, body: BODY })
    })

  it("can have them from the start", async () => {
    const quirky = await startS3Server({
      credentials: [CREDENTIALS],
      buckets: ["archives"],
      quirks: ["hidden-keys", "kms-etags"],
    })
    expect(quirky.quirks.names()).toEqual(["hidden-keys", "kms-etags"])
    await quirky.close()
  })
})
