import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { runCli } from "../../harness/process.ts"
import { PROJECT_ID, type System, startSystem } from "../../harness/system.ts"

const API_SECRET = "api-secret-of-the-simulated-project"

let directory: string
let system: System
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-url-"))
  system = await startSystem({
    ...{ store: "s3", workers: 0 },
    simulatorEnv: {
      ...{ SIMULATOR_REST_PORT: "0", SIMULATOR_API_SECRET: API_SECRET },
      SIMULATOR_TLS_CERTIFICATE_FILE: join(directory, "tls-cert.pem"),
      SIMULATOR_TLS_KEY_FILE: join(directory, "tls.pem"),
    },
  })
})
afterEach(async () => {
  await system.close()
  await rm(directory, { recursive: true })
})

test("an archive in the vendor's storage can be decrypted from its URL while that is valid", async () => {
  await system.record({ size: 300_000, statuses: ["started", "stopped", "available"] })
  const isStored = async () => (await system.archives()).some(({ status }) => status === "available")
  await expect.poll(isStored, { timeout: 60_000, interval: 200 }).toBe(true)
  const env = {
    UNSEAL_PROJECT_ID: PROJECT_ID,
    UNSEAL_API_SECRET: API_SECRET,
    UNSEAL_API_URL: `http://127.0.0.1:${system.simulator.ports.rest}`,
    NODE_EXTRA_CA_CERTS: join(directory, "tls-cert.pem"),
  }
  const listed = await runCli(["archives", "list", "--json", "--all-fields"], { env })
  const [archive] = JSON.parse(listed.stdout.toString()) as [
    { archiveId: string; url: string; encryptedPassword: string },
  ]
  const out = join(directory, "archive.ts")
  const decrypt = (source: string, destination = out) =>
    runCli(
      [
        ...["decrypt", source, destination, "--password", archive.encryptedPassword],
        ...["--key", system.keyFile, "--digest", "--overwrite"],
      ],
      { env },
    )
  const { code, stdout, stderr } = await decrypt(archive.url)
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) })
  const { sha256 } = await system.archive(archive.archiveId)
  expect(stdout.toString()).toBe(`${sha256.plaintext}  ${out}\n`)

  expect(await decrypt(archive.url.replace("https:", "http:"))).toMatchObject({ code: 2 })
  expect(await decrypt(archive.url, archive.url)).toMatchObject({ code: 2 })
  const forged = await decrypt(archive.url.replace(/Signature=.*/, "Signature=forged"))
  expect(forged).toMatchObject({ code: 1, stderr: expect.stringContaining("expired") })
  expect(forged.stderr).not.toContain("Signature")
})
