/** The command line's remedies for a store that refuses: as specific as the refusal itself. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startS3Server } from "@unseal/simulator/s3/http/server"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type CliResult, runCli } from "../../harness/process.ts"
import { S3_CREDENTIAL, SOURCE_NAME } from "../../harness/stores.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-remedies-"))
})
afterAll(() => rm(directory, { recursive: true }))

function decrypt(source: string, env: Readonly<Record<string, string>>): Promise<CliResult> {
  const [password, key] = [join(VECTOR, "password.b64"), join(VECTOR, "key.pem")]
  const args = ["decrypt", source, join(directory, "out.ts"), "--password-file", password, "--key", key]
  // Neither anybody's own credentials nor the machine's metadata service.
  const own = { HOME: directory, AWS_EC2_METADATA_DISABLED: "true", ...env }
  return runCli(args, { env: own })
}

test.each([
  [
    "AWS_PROFILE names a profile that no file has",
    "s3://bucket/key?region=us-east-1",
    { AWS_PROFILE: "nope" },
  ],
  ["the URL names a profile that no file has", "s3://bucket/key?region=us-east-1&profile=nope", {}],
  ["there are no credentials", "s3://bucket/key?region=us-east-1", {}],
] as const)("where %s, the remedy is about credentials", async (_, source, env) => {
  const { stderr } = await decrypt(source, env)
  const [what, remedy] = stderr.trim().split("\n")
  expect(what).toMatch(/credentials/)
  expect(remedy).toMatch(/credentials|profile/)
  if (source.includes("profile") || "AWS_PROFILE" in env) expect(what + remedy!).toMatch(/nope.*AWS_PROFILE/)
  expect(remedy).not.toMatch(/network|health/)
})

test("if a store denies everything, the remedy names the permission", async () => {
  const credentials = {
    accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
    secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
  }
  const server = await startS3Server({ credentials: [credentials], buckets: [SOURCE_NAME] })
  try {
    server.quirks.add("denied")
    const source = `s3://${SOURCE_NAME}/archive.ts?endpoint=${server.url}&region=us-east-1`
    const { stderr } = await decrypt(source, S3_CREDENTIAL)
    expect(stderr.trim().split("\n").at(-1)).toMatch(/give the credentials the permission s3:ListBucket/)
  } finally {
    await server.close()
  }
})
