import { describe, expect, it } from "vitest"
import { authorize, type ChunkSigner } from "../access/authorization.ts"
import { S3Error } from "../http/s3-error.ts"
import { decodeChunks } from "./chunked.ts"

// Examples of the S3 API reference, "Transferring payload in multiple chunks": 66,560 times `a`, without and with trailer.
const FIRST = Buffer.alloc(65_536, "a")
const SECOND = Buffer.alloc(1024, "a")
const credential = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
const credentials = new Map([[credential.accessKeyId, credential]])

function signer(headers: Record<string, string>, signature: string): ChunkSigner {
  const all: Record<string, string> = {
    "Content-Encoding": "aws-chunked",
    "Content-Length": "66824",
    Host: "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    ...headers,
  }
  const signed = Object.keys(all)
    .map((name) => name.toLowerCase())
    .filter((name) => !headers["x-amz-trailer"] || name !== "content-length")
    .sort()
    .join(";")
  const { proof } = authorize(
    {
      method: "PUT",
      target: "/examplebucket/chunkObject.txt",
      rawHeaders: [
        ...Object.entries(all).flat(),
        "Authorization",
        `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signed},Signature=${signature}`,
      ],
    },
    credentials,
    "us-east-1",
    Date.UTC(2013, 4, 24),
  )
  if (proof.kind !== "signed-chunks") throw new Error(proof.kind)
  return proof.signer
}

const chunk = (data: Buffer, signature?: string): Buffer =>
  Buffer.concat([
    Buffer.from(`${data.length.toString(16)}${signature ? `;chunk-signature=${signature}` : ""}\r\n`),
    data,
    Buffer.from(data.length > 0 ? "\r\n" : ""),
  ])

const PLAIN_SIGNER = () =>
  signer(
    { "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" },
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
  )
const SIGNED_BODY = Buffer.concat([
  chunk(FIRST, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
  chunk(SECOND, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
  chunk(Buffer.alloc(0), "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
  Buffer.from("\r\n"),
])

const TRAILER_SIGNER = () =>
  signer(
    {
      "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
      "x-amz-trailer": "x-amz-checksum-crc32c",
    },
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
  )
const TRAILER_BODY = Buffer.concat([
  chunk(FIRST, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
  chunk(SECOND, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
  chunk(Buffer.alloc(0), "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
  Buffer.from(
    "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
  ),
])

async function decode(body: Buffer, options: Parameters<typeof decodeChunks>[1], pieceBytes = body.length) {
  async function* pieces() {
    for (let at = 0; at < body.length; at += pieceBytes) yield body.subarray(at, at + pieceBytes)
  }
  const data: Buffer[] = []
  const decoding = decodeChunks(pieces(), options)
  try {
    let next = await decoding.next()
    for (; !next.done; next = await decoding.next()) data.push(next.value)
    return { payload: Buffer.concat(data), trailers: Object.fromEntries(next.value) }
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
}

const alter = (body: Buffer, from: string, to: string): Buffer =>
  Buffer.from(body.toString("latin1").replace(from, to), "latin1")

describe("AWS's published chunked bodies", () => {
  const payload = Buffer.concat([FIRST, SECOND])

  it.each([1, 7, 1000, 70_000])("decode in pieces of %i bytes", async (pieceBytes) => {
    expect(await decode(SIGNED_BODY, { signer: PLAIN_SIGNER(), trailers: [] }, pieceBytes)).toEqual({
      payload,
      trailers: {},
    })
    expect(
      await decode(
        TRAILER_BODY,
        { signer: TRAILER_SIGNER(), trailers: ["x-amz-checksum-crc32c"] },
        pieceBytes,
      ),
    ).toEqual({ payload, trailers: { "x-amz-checksum-crc32c": "sOO8/Q==" } })
  })

  it.each([
    ["a changed byte", alter(SIGNED_BODY, "aa", "ab"), "SignatureDoesNotMatch"],
    ["a changed signature", alter(SIGNED_BODY, "=0055", "=1055"), "SignatureDoesNotMatch"],
    [
      "a chunk left out",
      Buffer.concat([SIGNED_BODY.subarray(0, 0), SIGNED_BODY.subarray(65_536 + 89)]),
      "IncompleteBody",
    ],
    ["the end cut off", SIGNED_BODY.subarray(0, -2), "IncompleteBody"],
    ["bytes after its end", Buffer.concat([SIGNED_BODY, Buffer.from("x")]), "IncompleteBody"],
    [
      "unsigned chunks",
      alter(SIGNED_BODY, /;chunk-signature=\w+/.exec(SIGNED_BODY.toString("latin1"))![0], ""),
      "IncompleteBody",
    ],
    ["a size that is not a number", alter(SIGNED_BODY, "10000;", "1000g;"), "IncompleteBody"],
    ["a line without end", Buffer.alloc(100_000, "1"), "IncompleteBody"],
  ])("is refused with %s", async (_, body, code) => {
    expect(await decode(body, { signer: PLAIN_SIGNER(), trailers: [] })).toBe(code)
  })

  it.each([
    ["a changed trailer", alter(TRAILER_BODY, "sOO8", "sOO9"), "SignatureDoesNotMatch"],
    [
      "an unsigned trailer",
      alter(TRAILER_BODY, /x-amz-trailer-signature.*\r\n/.exec(TRAILER_BODY.toString("latin1"))![0], ""),
      "SignatureDoesNotMatch",
    ],
    [
      "another trailer than announced",
      alter(TRAILER_BODY, "checksum-crc32c", "checksum-crc32"),
      "MalformedTrailerError",
    ],
  ])("is refused with %s", async (_, body, code) => {
    expect(await decode(body, { signer: TRAILER_SIGNER(), trailers: ["x-amz-checksum-crc32c"] })).toBe(code)
  })
})

describe("unsigned chunks", () => {
  it("yield their payload and trailers", async () => {
    const body = Buffer.concat([
      chunk(FIRST),
      chunk(SECOND),
      Buffer.from("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"),
    ])
    expect(await decode(body, { trailers: ["x-amz-checksum-crc32"] })).toMatchObject({
      trailers: { "x-amz-checksum-crc32": "AAAAAA==" },
    })
  })

  it("may be small only at the end, as S3 requires", async () => {
    const body = Buffer.concat([chunk(SECOND), chunk(FIRST), Buffer.from("0\r\n\r\n")])
    expect(await decode(body, { trailers: [] })).toBe("InvalidChunkSizeError")
  })

  it("may not carry signatures that nobody checks", async () => {
    expect(await decode(SIGNED_BODY, { trailers: [] })).toBe("IncompleteBody")
  })
})
