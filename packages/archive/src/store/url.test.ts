import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { parseStoreUrl, StoreUrlError, splitObjectUrl } from "./url.ts"

describe("a store URL", () => {
  it("of S3 has a bucket, a prefix and parameters", () => {
    expect(parseStoreUrl("s3://bucket")).toEqual({ kind: "s3", bucket: "bucket", prefix: "" })
    expect(
      parseStoreUrl(
        "s3://my.bucket-1/a/b%20c/?region=eu-west-1&endpoint=http://127.0.0.1:9000/&pathStyle=true&profile=ops",
      ),
    ).toEqual({
      kind: "s3",
      bucket: "my.bucket-1",
      prefix: "a/b c",
      region: "eu-west-1",
      endpoint: "http://127.0.0.1:9000",
      pathStyle: true,
      profile: "ops",
    })
    expect(parseStoreUrl("s3://bucket?pathStyle=false")).toMatchObject({ pathStyle: false })
  })

  it("of Azure has a container, a prefix and parameters", () => {
    expect(
      parseStoreUrl("azure://archives/46123?account=acme&endpoint=http://127.0.0.1:10000/devstoreaccount1"),
    ).toEqual({
      kind: "azure",
      container: "archives",
      prefix: "46123",
      account: "acme",
      endpoint: "http://127.0.0.1:10000/devstoreaccount1",
    })
    expect(parseStoreUrl("azure://$web")).toMatchObject({ container: "$web" })
  })

  it("of a directory has an absolute path", () => {
    expect(parseStoreUrl("file:///var/archives/")).toEqual({ kind: "file", directory: "/var/archives" })
    expect(parseStoreUrl("file://localhost/var/a%20b")).toEqual({ kind: "file", directory: "/var/a b" })
    expect(parseStoreUrl("file:///")).toEqual({ kind: "file", directory: "/" })
  })

  it("of S3 says how to store what is written, and who pays", () => {
    const url =
      "s3://bucket?serverSideEncryption=aws:kms&sseKmsKeyId=arn:aws:kms:eu-west-1:111122223333:key/1-2&bucketKeyEnabled=true" +
      "&storageClass=STANDARD_IA&tagging=team%3Dmedia%26cost%20centre%3D4%2F5&acl=bucket-owner-full-control" +
      "&expectedBucketOwner=111122223333&requestPayer=requester"
    expect(parseStoreUrl(url)).toEqual({
      ...{ kind: "s3", bucket: "bucket", prefix: "" },
      serverSideEncryption: "aws:kms",
      sseKmsKeyId: "arn:aws:kms:eu-west-1:111122223333:key/1-2",
      bucketKeyEnabled: true,
      storageClass: "STANDARD_IA",
      tagging: "team=media&cost%20centre=4%2F5",
      acl: "bucket-owner-full-control",
      expectedBucketOwner: "111122223333",
      requestPayer: "requester",
    })
    expect(parseStoreUrl("s3://bucket?endpoint=http://ceph&storageClass=fast-1")).toMatchObject({
      storageClass: "fast-1",
    })
  })

  it("of S3 may name an access point, by its ARN or its alias", () => {
    const arn = "arn:aws:s3:eu-west-1:111122223333:accesspoint/media"
    const expected = { bucket: arn, region: "eu-west-1", prefix: "a/b" }
    expect(parseStoreUrl(`s3://${arn}/a/b`)).toMatchObject(expected)
    expect(parseStoreUrl("s3://arn:aws:s3:eu-west-1:111122223333:accesspoint:media/a/b")).toMatchObject(
      expected,
    )
    expect(parseStoreUrl(`s3://${arn}?region=eu-west-2`)).toMatchObject({ region: "eu-west-2", prefix: "" })
    expect(splitObjectUrl(`s3://${arn}/a/b.ts?profile=x`)).toEqual({
      store: `s3://${arn}?profile=x`,
      key: "a/b.ts",
    })
    const alias = "media-1234567890abcdefghij-s3alias"
    expect(parseStoreUrl(`s3://${alias}/a`)).toMatchObject({ bucket: alias, prefix: "a" })
  })

  it("of Azure says how to store what is written", () => {
    expect(
      parseStoreUrl(
        "azure://archives?accessTier=Cool&encryptionScope=media-1&tags=team%3Dmedia%26keep%3Dyes",
      ),
    ).toMatchObject({
      accessTier: "Cool",
      encryptionScope: "media-1",
      tags: { team: "media", keep: "yes" },
    })
  })

  it("is refused on the side where a parameter has no meaning", () => {
    for (const [url, side, message] of [
      ["s3://bucket?acl=private", "source", "acl is for the destination, and this is the URL of the source"],
      ["s3://bucket?storageClass=STANDARD_IA", "source", "storageClass is for the destination"],
      ["azure://archives?accessTier=Cool", "source", "accessTier is for the destination"],
    ] as const) {
      expect(() => parseStoreUrl(url, side)).toThrow(message)
      expect(() => parseStoreUrl(url)).not.toThrow()
    }
    // For somebody else's bucket, both parameters make sense on either side.
    for (const side of ["source", "destination"] as const)
      expect(
        parseStoreUrl("s3://bucket?expectedBucketOwner=111122223333&requestPayer=requester", side),
      ).toMatchObject({ expectedBucketOwner: "111122223333", requestPayer: "requester" })
  })

  const mistakes: [string, RegExp][] = [
    ["", /must begin with s3:\/\//],
    ["/var/archives", /must begin with s3:\/\//],
    ["file:/var", /three slashes/],
    ["file://archives", /host "archives".*three slashes/],
    ["file://", /names no directory/],
    ["file:///a?region=x", /unknown parameter "region": it takes none/],
    ["s4://bucket", /unknown scheme "s4:\/\/": did you mean "s3:\/\/"\?/],
    ["ftp://host/x", /unknown scheme "ftp:\/\/": use s3:\/\//],
    ["s3:///prefix", /names no usable bucket: ""/],
    ["s3://buc ket", /names no usable bucket: "buc ket"/],
    ["azure://Archives", /names no usable container: "Archives"/],
    ["azure://a--b", /names no usable container/],
    ["s3://bucket?regoin=x", /unknown parameter "regoin": did you mean "region"\?/],
    ["s3://bucket?path-style=true", /unknown parameter "path-style": did you mean "pathStyle"\?/],
    ["s3://bucket--use1-az4--x-s3/a", /directory bucket \(S3 Express\)/],
    ["s3://arn:aws:s3::111122223333:accesspoint/abc.mrap/a", /multi-region access point, whose signature/],
    ["s3://abc.mrap", /multi-region access point/],
    ["s3://arn:aws:s3-object-lambda:eu-west-1:111122223333:accesspoint/x", /belongs to S3 Object Lambda/],
    ["s3://name-abc--ol-s3", /belongs to S3 Object Lambda/],
    ["s3://arn:aws:s3:::bucket/a", /multi-region|is not an access point/],
    [
      "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint",
      /is not an access point: arn:aws:s3:region:account/,
    ],
    ["s3://bucket?colour=x", /unknown parameter "colour": known are region, endpoint, pathStyle, profile/],
    ["s3://bucket?sseKmsKeyID=x", /unknown parameter "sseKmsKeyID": did you mean "sseKmsKeyId"\?/],
    ["s3://bucket?serverSideEncryption=kms", /is "kms" instead of AES256, aws:kms, aws:kms:dsse/],
    ["s3://bucket?sseKmsKeyId=x", /sseKmsKeyId needs serverSideEncryption=aws:kms/],
    ["s3://bucket?serverSideEncryption=AES256&bucketKeyEnabled=true", /bucketKeyEnabled needs serverSide/],
    ["s3://bucket?serverSideEncryption=aws:kms&bucketKeyEnabled=yes", /is "yes" instead of true, false/],
    ["s3://bucket?storageClass=COLD", /storageClass is "COLD" instead of STANDARD, /],
    ["s3://bucket?storageClass=DEEP_ARCHIVE", /DEEP_ARCHIVE can't be read back at once/],
    ["s3://bucket?endpoint=http://ceph&storageClass=GLACIER", /GLACIER can't be read back at once/],
    ["s3://bucket?endpoint=http://ceph&storageClass=a%20b", /storageClass is not a name of letters/],
    ["s3://bucket?tagging=%3Dx", /tagging is not 1 to 10 different tags/],
    ["s3://bucket?tagging=a%3D1%26a%3D2", /tagging is not 1 to 10 different tags/],
    ["s3://bucket?acl=mine", /acl is "mine" instead of private, public-read, /],
    ["s3://bucket?expectedBucketOwner=1234", /expectedBucketOwner is not an AWS account's number/],
    ["s3://bucket?requestPayer=me", /requestPayer is "me" instead of requester/],
    ["azure://archives?accessTier=cool", /accessTier is "cool" instead of Hot, Cool, Cold/],
    ["azure://archives?accessTier=Archive", /Archive can't be read back at once/],
    ["azure://archives?encryptionScope=a_b", /encryptionScope is not 3 to 63 letters/],
    ["azure://archives?tags=x".padEnd(400, "x"), /tags is not 1 to 10 different tags/],
    ["azure://archives?region=x", /unknown parameter "region"/],
    ["s3://bucket?region=a&region=b", /parameter "region" twice/],
    ["s3://bucket?region=", /parameter "region" without a value/],
    ["s3://bucket?pathStyle=yes", /pathStyle is "yes" instead of true or false/],
    ["s3://bucket?endpoint=127.0.0.1:9000", /endpoint is not an http:\/\/ or https:\/\/ URL/],
    ["s3://bucket?endpoint=ftp://host", /endpoint is not an http/],
    ["s3://bucket/a/../b", /"\." or "\.\." in its path/],
    ["s3://bucket/a/%2e%2e/b", /"\." or "\.\." in its path/],
    ["s3://bucket/100%", /broken percent-encoding/],
    ["s3://bucket/a%00b", /NUL/],
    ["s3://bucket/a#b", /fragment: a # in a key is written %23/],
  ]
  for (const [url, message] of mistakes)
    it(`is refused with its reason: ${url || "(empty)"}`, () => {
      expect(() => parseStoreUrl(url)).toThrow(StoreUrlError)
      expect(() => parseStoreUrl(url)).toThrow(message)
    })

  const secret = "hunter2hunter2"
  const leaks = [
    `s3://AKIA:${secret}@bucket/prefix`,
    `s3://${secret}@bucket`,
    `s3://bucket?secretAccessKey=${secret}`,
    `s3://bucket?accessKey=${secret}`,
    `s3://bucket?X-Amz-Signature=${secret}`,
    `azure://archives?sv=2024-01-01&sig=${secret}`,
    `azure://archives?sig=${secret}`,
    `azure://archives?accountKey=${secret}`,
    `azure://archives?account=a&connectionString=${secret}`,
    `azure://archives?endpoint=${encodeURIComponent(`https://a.blob.core.windows.net/?sv=1&sig=${secret}`)}`,
    `s3://bucket?endpoint=http://user:${secret}@127.0.0.1`,
  ]
  for (const url of leaks)
    it(`with a credential is refused without repeating it: ${url.replaceAll(secret, "…")}`, () => {
      for (const parse of [parseStoreUrl, splitObjectUrl])
        try {
          parse(url)
          expect.unreachable()
        } catch (error) {
          expect(error).toBeInstanceOf(StoreUrlError)
          expect(String(error)).toMatch(/credential|leave it out/)
          expect(String(error)).not.toContain(secret)
        }
    })

  it("of any shape gives a store or a StoreUrlError", () => {
    const pieces = fc.constantFrom(
      "s3",
      "azure",
      "file",
      "://",
      "/",
      "?",
      "&",
      "=",
      "@",
      "#",
      "%",
      "..",
      "a",
      "é",
      "region",
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        try {
          expect(parseStoreUrl(parts.join("")).kind).toMatch(/^(s3|azure|file)$/)
        } catch (error) {
          expect(error).toBeInstanceOf(StoreUrlError)
        }
      }),
    )
  })
})

describe("an object URL", () => {
  it("is a store's URL and a key", () => {
    expect(splitObjectUrl("s3://bucket/a/b/archive.ts?region=eu-west-1&pathStyle=true")).toEqual({
      store: "s3://bucket?region=eu-west-1&pathStyle=true",
      key: "a/b/archive.ts",
    })
    expect(splitObjectUrl("azure://archives/archive.ts")).toEqual({
      store: "azure://archives",
      key: "archive.ts",
    })
    expect(splitObjectUrl("file:///var/a%20b/archive.ts")).toEqual({
      store: "file:///var/a%20b",
      key: "archive.ts",
    })
    expect(splitObjectUrl("file:///archive.ts")).toEqual({ store: "file:///", key: "archive.ts" })
  })

  it("has its key decoded once, and keeps a plus sign", () => {
    expect(splitObjectUrl("s3://bucket/a%20b+c/%2541.ts").key).toBe("a b+c/%41.ts")
  })

  for (const url of ["s3://bucket", "s3://bucket/", "s3://bucket/a/", "azure://archives", "file:///var/"])
    it(`without a key is refused: ${url}`, () => {
      expect(() => splitObjectUrl(url)).toThrow(/ends in no key/)
    })

  it("gives a store's URL that parses to the same store", () => {
    const segment = fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).filter((text) => {
      return !/[/\0]/.test(text) && text !== "." && text !== ".." && text.isWellFormed()
    })
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 4 }), (segments) => {
        const path = segments.map(encodeURIComponent).join("/")
        const s3 = splitObjectUrl(`s3://bucket/${path}?region=x`)
        expect(s3.key).toBe(segments.join("/"))
        expect(parseStoreUrl(s3.store)).toEqual({ kind: "s3", bucket: "bucket", prefix: "", region: "x" })

        const file = splitObjectUrl(`file:///base/${path}`)
        const directory = ["", "base", ...segments.slice(0, -1)].join("/")
        expect(file.key).toBe(segments.at(-1))
        expect(parseStoreUrl(file.store)).toEqual({ kind: "file", directory })
      }),
    )
  })
})
