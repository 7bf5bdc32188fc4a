/** A customer of a simulated platform, who runs `unseal` in processes of their own. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Platform } from "@unseal/vendor/platform"
import { afterAll, afterEach, beforeAll, expect } from "vitest"
import { runCli } from "../harness/process.ts"
import { S3_CREDENTIAL } from "../harness/stores.ts"
import { API_SECRET, BUCKET, type SimulatedVendor, startSimulatedVendor } from "./simulated-vendor.ts"

export const SECRET_KEY = S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY
export const ACCOUNT_KEY = Buffer.from("canary-account-key").toString("base64")
const SECRETS = [API_SECRET, SECRET_KEY, ACCOUNT_KEY]

/** A customer of the platform, for the tests of one `describe`; after each of them, no secret has been shown. */
export function customerOf(platform: Platform) {
  let vendor: SimulatedVendor
  let said = ""
  beforeAll(async () => {
    vendor = await startSimulatedVendor(platform)
    await writeFile(path("secret-key"), `${SECRET_KEY}\n`)
    await writeFile(path("wrong-key"), `not-${SECRET_KEY}\n`)
    await writeFile(path("account-key"), ACCOUNT_KEY)
  })
  afterAll(() => vendor.close())
  afterEach(() => {
    for (const secret of SECRETS) expect(said).not.toContain(secret)
    said = ""
  })

  const path = (name: string) => join(vendor.directory, name)
  async function runWith(env: Readonly<Record<string, string>>, args: readonly string[]) {
    const { code, stdout, stderr } = await runCli(args, { env })
    said += stdout + stderr
    return { code, stdout: stdout.toString(), stderr }
  }
  return {
    get vendor() {
      return vendor
    },
    path,
    runWith,
    run: (args: readonly string[], env: Record<string, string> = {}) =>
      runWith({ ...vendor.env, ...env }, args),
    toS3: (keyFile = "secret-key") => [
      ...["s3", "--bucket", BUCKET, "--access-key", S3_CREDENTIAL.AWS_ACCESS_KEY_ID],
      ...["--secret-key-file", path(keyFile), "--endpoint", vendor.s3.url],
    ],
    toAzure: () => [
      ...["azure", "--container", BUCKET, "--account-name", "account"],
      ...["--account-key-file", path("account-key")],
    ],
    certified: () => ["--certificate", vendor.certificateFile],
  }
}
