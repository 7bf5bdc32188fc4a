import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, test } from "vitest"
import { directoryOf, isComplete, settingsFor, withEverything } from "./complete.ts"

const directory = mkdtempSync(join(tmpdir(), "simulator-complete-"))
afterAll(() => rmSync(directory, { recursive: true }))

test("the simulator is complete unless something says what it is for, or if it has a folder", () => {
  expect(isComplete({})).toBe(true)
  expect(isComplete({ SIMULATOR_PROJECT_ID: "123", SIMULATOR_STORE: "" })).toBe(true)
  for (const name of ["SIMULATOR_STORE", "SIMULATOR_S3_PORT", "SIMULATOR_REST_PORT"]) {
    expect(isComplete({ [name]: "0" })).toBe(false)
    expect(isComplete({ [name]: "0", SIMULATOR_DIRECTORY: "/simulator" })).toBe(true)
  }
  expect(directoryOf({})).toBe(join(tmpdir(), "unseal-simulator"))
})

test("a complete simulator keeps its secrets, for itself alone, and whatever is given wins", () => {
  const env = { SIMULATOR_DIRECTORY: join(directory, "first"), SIMULATOR_PROJECT_ID: "777" }
  const made = withEverything(env)
  expect(made).toMatchObject({
    SIMULATOR_S3_PORT: "9000",
    SIMULATOR_REST_PORT: "8083",
    SIMULATOR_CALLBACK_URL: "http://127.0.0.1:8080/callbacks/777",
  })
  const secret = readFileSync(made.SIMULATOR_SIGNATURE_SECRET_FILE!, "utf8")
  expect(secret).toMatch(/^[0-9a-f]{64}\n$/)
  expect(statSync(made.SIMULATOR_SIGNATURE_SECRET_FILE!).mode & 0o077).toBe(0)
  expect(statSync(env.SIMULATOR_DIRECTORY).mode & 0o077).toBe(0)
  const again = withEverything({ ...env, SIMULATOR_S3_PORT: "0", SIMULATOR_API_SECRET: "given" })
  expect(readFileSync(again.SIMULATOR_SIGNATURE_SECRET_FILE!, "utf8")).toBe(secret)
  expect(again).toMatchObject({ SIMULATOR_S3_PORT: "0", SIMULATOR_API_SECRET: "given" })
  expect(again.SIMULATOR_API_SECRET_FILE).toBeUndefined()
  expect(readdirSync(env.SIMULATOR_DIRECTORY).sort()).toEqual([
    ...["api-secret", "decrypted", "keys", "signature-secret"],
  ])
})

test("a folder that can't be made is a problem of the configuration", () => {
  const file = join(directory, "file")
  writeFileSync(file, "")
  chmodSync(file, 0o600)
  expect(() => withEverything({ SIMULATOR_DIRECTORY: join(file, "below") })).toThrow(
    /SIMULATOR_DIRECTORY: .* can't be made \(ENOTDIR\): name a folder that the simulator may write to/,
  )
})

test("the other side's settings are safe in a shell", () => {
  const settings = settingsFor({
    env: { SIMULATOR_API_SECRET: "it's $HOME", AWS_ACCESS_KEY_ID: "me", AWS_SECRET_ACCESS_KEY: "made-up" },
    ...{ directory: "/a folder", projectId: "123456", buckets: ["recordings"] },
    ports: { control: 1, s3: 2, rest: 3 },
  })
  expect(settings).toContain("export UNSEAL_API_SECRET='it'\\''s $HOME'\n")
  expect(settings).toContain("export UNSEAL_KEYS='/a folder/keys'\n")
})
