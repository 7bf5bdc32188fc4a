import { describe, expect, it } from "vitest"
import { encodeCertificate, maskUploadTarget, type UploadTarget } from "./upload-target.ts"

const PEM = "-----BEGIN CERTIFICATE-----\nMIID\nAAAA\n-----END CERTIFICATE-----\n"

describe("a certificate in JSON", () => {
  it("is the base64 of the PEM, as openssl enc -base64 -A gives it", () => {
    expect(encodeCertificate(PEM, "base64")).toBe(Buffer.from(PEM).toString("base64"))
    expect(encodeCertificate(PEM, "base64")).toMatch(/^LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0/)
  })

  it("is the PEM with its line breaks, which JSON writes as \\n", () => {
    expect(JSON.stringify(encodeCertificate(PEM.replaceAll("\n", "\r\n"), "newlines"))).toBe(
      '"-----BEGIN CERTIFICATE-----\\nMIID\\nAAAA\\n-----END CERTIFICATE-----\\n"',
    )
  })
})

describe("a storage shown to people", () => {
  it("has everything but its secrets", () => {
    const s3: UploadTarget = {
      type: "s3",
      config: { bucket: "archives", accessKey: "AKID", secretKey: "canary", sse: "s3" },
      fallback: "none",
      certificate: PEM,
    }
    const azure: UploadTarget = {
      type: "azure",
      config: { accountName: "account", accountKey: "canary", container: "archives" },
      fallback: "opentok",
      certificate: null,
    }
    for (const storage of [s3, azure])
      expect(JSON.stringify(maskUploadTarget(storage))).not.toContain("canary")
    expect(maskUploadTarget(s3)).toEqual({ ...s3, config: { ...s3.config, secretKey: "********" } })
    expect(maskUploadTarget(azure)).toEqual({ ...azure, config: { ...azure.config, accountKey: "********" } })
  })
})
