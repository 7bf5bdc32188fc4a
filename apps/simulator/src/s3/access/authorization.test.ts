import { describe, expect, it } from "vitest"
import { S3Error } from "../http/s3-error.ts"
import { authorize, type WireRequest } from "./authorization.ts"

// The examples of the S3 API reference: "Signature calculations for the Authorization header" and "Using query parameters".
const ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
const EXAMPLE_TIME = Date.UTC(2013, 4, 24)
const credentials = new Map([[ACCESS_KEY, { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET }]])

function example(
  method: string,
  target: string,
  headers: Record<string, string>,
  signature: string,
): WireRequest {
  const all: Record<string, string> = {
    Host: "examplebucket.s3.amazonaws.com",
    ...headers,
    "x-amz-date": "20130524T000000Z",
  }
  const signed = Object.keys(all)
    .map((name) => name.toLowerCase())
    .sort()
    .join(";")
  all.Authorization = `AWS4-HMAC-SHA256 Credential=${ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signed},Signature=${signature}`
  return { method, target, rawHeaders: Object.entries(all).flat() }
}

const published = [
  {
    name: "GET object",
    request: example(
      "GET",
      "/test.txt",
      { Range: "bytes=0-9", "x-amz-content-sha256": EMPTY_SHA256 },
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
  },
  {
    name: "PUT object",
    request: example(
      "PUT",
      "/test$file.text",
      {
        Date: "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
  },
  {
    name: "GET bucket lifecycle",
    request: example(
      "GET",
      "/?lifecycle",
      { "x-amz-content-sha256": EMPTY_SHA256 },
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
  },
  {
    name: "list objects",
    request: example(
      "GET",
      "/?max-keys=2&prefix=J",
      { "x-amz-content-sha256": EMPTY_SHA256 },
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
  },
  {
    name: "presigned GET",
    request: {
      method: "GET",
      target: `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${ACCESS_KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`,
      rawHeaders: ["Host", "examplebucket.s3.amazonaws.com"],
    },
  },
]

const refusal = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
  return "accepted"
}

describe("AWS's published signatures", () => {
  it.each(published)("$name is accepted", ({ request }) => {
    expect(refusal(() => authorize(request, credentials, "us-east-1", EXAMPLE_TIME))).toBe("accepted")
  })

  it.each(published)("$name is refused under another secret", ({ request }) => {
    const others = new Map([[ACCESS_KEY, { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET.toLowerCase() }]])
    expect(refusal(() => authorize(request, others, "us-east-1", EXAMPLE_TIME))).toBe("SignatureDoesNotMatch")
  })

  it.each(published)("$name is refused for another method", ({ request }) => {
    const altered = { ...request, method: "DELETE" }
    expect(refusal(() => authorize(altered, credentials, "us-east-1", EXAMPLE_TIME))).toBe(
      "SignatureDoesNotMatch",
    )
  })
})

describe("the published GET object request", () => {
  const { request } = published[0]!
  const verdict = (altered: Partial<WireRequest>, nowMs = EXAMPLE_TIME) =>
    refusal(() => authorize({ ...request, ...altered }, credentials, "us-east-1", nowMs))
  const withHeader = (name: string, value: string) => {
    const rawHeaders = [...request.rawHeaders]
    const at = rawHeaders.indexOf(name)
    if (at < 0) rawHeaders.push(name, value)
    else rawHeaders[at + 1] = value
    return { rawHeaders }
  }

  it.each([
    ["another path", { target: "/test.txt2" }, "SignatureDoesNotMatch"],
    ["an added query parameter", { target: "/test.txt?x=1" }, "SignatureDoesNotMatch"],
    ["an altered signed header", withHeader("Range", "bytes=0-99"), "SignatureDoesNotMatch"],
    ["another host", withHeader("Host", "other.s3.amazonaws.com"), "SignatureDoesNotMatch"],
    ["an unsigned x-amz- header", withHeader("x-amz-meta-a", "b"), "AccessDenied"],
    [
      "a repeated signed header",
      { rawHeaders: [...request.rawHeaders, "Range", "bytes=1-2"] },
      "SignatureDoesNotMatch",
    ],
    ["a payload hash of no known form", withHeader("x-amz-content-sha256", "x"), "SignatureDoesNotMatch"],
    [
      "another algorithm",
      withHeader("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=x"),
      "InvalidRequest",
    ],
    [
      "no signature",
      withHeader("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request"),
      "AuthorizationHeaderMalformed",
    ],
    ["a date that is not one", withHeader("x-amz-date", "20130524T250000Z"), "AccessDenied"],
    ["a date of another day", withHeader("x-amz-date", "20130525T000000Z"), "AuthorizationHeaderMalformed"],
  ])("is refused with %s", (_, altered, code) => {
    expect(verdict(altered)).toBe(code)
  })

  it("is accepted with an unsigned header that S3 does not act on", () => {
    expect(verdict(withHeader("User-Agent", "any"))).toBe("accepted")
  })

  it("is accepted with doubled spaces around and inside a signed value", () => {
    expect(verdict(withHeader("Range", "  bytes=0-9  "))).toBe("accepted")
  })

  it("is accepted up to 15 minutes before or after the server's clock", () => {
    const skew = 15 * 60_000
    expect(verdict({}, EXAMPLE_TIME + skew)).toBe("accepted")
    expect(verdict({}, EXAMPLE_TIME - skew)).toBe("accepted")
    expect(verdict({}, EXAMPLE_TIME + skew + 1)).toBe("RequestTimeTooSkewed")
    expect(verdict({}, EXAMPLE_TIME - skew - 1)).toBe("RequestTimeTooSkewed")
  })

  it("is refused under an unknown access key, and in another region", () => {
    expect(refusal(() => authorize(request, new Map(), "us-east-1", EXAMPLE_TIME))).toBe("InvalidAccessKeyId")
    expect(refusal(() => authorize(request, credentials, "eu-west-1", EXAMPLE_TIME))).toBe(
      "AuthorizationHeaderMalformed",
    )
  })

  it("is refused without any signature", () => {
    expect(verdict({ rawHeaders: ["Host", "examplebucket.s3.amazonaws.com"] })).toBe("AccessDenied")
  })
})

describe("the published presigned request", () => {
  const { request } = published.at(-1)!
  const verdict = (target: string, nowMs = EXAMPLE_TIME) =>
    refusal(() => authorize({ ...request, target }, credentials, "us-east-1", nowMs))

  it("is valid from its date until it expires", () => {
    expect(verdict(request.target, EXAMPLE_TIME + 86_400_000)).toBe("accepted")
    expect(verdict(request.target, EXAMPLE_TIME + 86_400_001)).toBe("AccessDenied")
    expect(verdict(request.target, EXAMPLE_TIME - 15 * 60_000 - 1)).toBe("AccessDenied")
  })

  it.each([
    ["a longer life", request.target.replace("86400", "86401"), "SignatureDoesNotMatch"],
    ["a life beyond a week", request.target.replace("86400", "604801"), "AuthorizationQueryParametersError"],
    ["no life", request.target.replace("&X-Amz-Expires=86400", ""), "AuthorizationQueryParametersError"],
    ["no signature", request.target.replace(/&X-Amz-Signature=\w+/, ""), "AuthorizationQueryParametersError"],
    ["a parameter more", `${request.target}&response-content-type=text/html`, "SignatureDoesNotMatch"],
    ["another key", request.target.replace("test.txt", "other.txt"), "SignatureDoesNotMatch"],
  ])("is refused with %s", (_, target, code) => {
    expect(verdict(target)).toBe(code)
  })

  it("is refused together with an Authorization header", () => {
    const rawHeaders = [...request.rawHeaders, "Authorization", "AWS4-HMAC-SHA256 x"]
    expect(refusal(() => authorize({ ...request, rawHeaders }, credentials, "us-east-1", EXAMPLE_TIME))).toBe(
      "InvalidArgument",
    )
  })
})
