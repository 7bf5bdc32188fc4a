import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { readTarget, type TargetOptions } from "./target.ts"

const directory = mkdtempSync(join(tmpdir(), "unseal-storage-target-"))
afterAll(() => rmSync(directory, { recursive: true }))
const secretFile = join(directory, "secret")
writeFileSync(secretFile, "canary-secret\n")

const s3: TargetOptions = { bucket: "archives", accessKey: "AKID", secretKeyFile: secretFile }
const azure: TargetOptions = { container: "archives", accountName: "account", accountKeyFile: secretFile }

describe("an upload target", () => {
  it("has its secret from a file, without the trailing line break", () => {
    expect(readTarget("s3", s3)).toEqual({
      type: "s3",
      config: { bucket: "archives", accessKey: "AKID", secretKey: "canary-secret" },
    })
    expect(readTarget("azure", azure)).toEqual({
      type: "azure",
      config: { container: "archives", accountName: "account", accountKey: "canary-secret" },
    })
  })

  it.each<[string, "s3" | "azure", TargetOptions, string]>([
    ["s3 without a bucket", "s3", { ...s3, bucket: "" }, "--bucket"],
    ["azure without a container", "azure", { ...azure, container: "" }, "--container"],
    ["s3 with options of azure", "s3", { ...s3, accountName: "x", domain: "x" }, "--account-name, --domain"],
    ["azure with options of s3", "azure", { ...azure, sse: "s3" }, "--sse"],
    ["an endpoint without a protocol", "s3", { ...s3, endpoint: "storage.example.com" }, "--endpoint"],
    ["an endpoint with a path", "s3", { ...s3, endpoint: "https://example.com/a" }, "--endpoint"],
    ["an endpoint with credentials", "s3", { ...s3, endpoint: "https://a:canary@example.com" }, "--endpoint"],
    ["a secret that is not there", "s3", { ...s3, secretKeyFile: join(directory, "none") }, "ENOENT"],
  ])("is refused, and no secret quoted: %s", (_, type, options, words) => {
    expect(() => readTarget(type, options)).toThrow(words)
    expect(() => readTarget(type, options)).not.toThrow(/canary/)
  })
})
