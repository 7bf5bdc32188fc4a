import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigurationError, type Environment } from "@unseal/service/settings/settings"
import { afterAll, describe, expect, test } from "vitest"
import { readConfig } from "./config.ts"
import { QUIRK_NAMES, QUIRKS } from "./s3/quirks/quirks.ts"

const directory = mkdtempSync(join(tmpdir(), "simulator-config-"))
afterAll(() => rmSync(directory, { recursive: true }))
const certificateFile = join(directory, "cert.pem")
writeFileSync(certificateFile, "")

const enough: Environment = {
  SIMULATOR_STORE: "file:///recordings",
  SIMULATOR_CERTIFICATE_FILE: certificateFile,
}

function problemsOf(env: Environment): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

describe("the simulator's configuration", () => {
  test("needs a store and a certificate, and has defaults for the rest", () => {
    expect(readConfig(enough)).toMatchObject({
      SIMULATOR_PORT: 8082,
      SIMULATOR_HOST: "127.0.0.1",
      SIMULATOR_PROJECT_ID: "123456",
      SIMULATOR_SIZES_BYTES: [1_000_000, 5_000_000, 20_000_000],
      SIMULATOR_DISORDER: false,
      SIMULATOR_TIME_SCALE: 1,
      LOG_LEVEL: "info",
      credential: null,
    })
  })

  test("reads the S3 server's policies, and says what is wrong with them", () => {
    const file = join(directory, "policies.json")
    const Statement = { Effect: "Allow", Action: "s3:GetObject", Resource: "arn:aws:s3:::recordings/*" }
    const users = { reader: { secretAccessKey: "made up", policies: [{ Statement }] } }
    const given = {
      ...{ ...enough, SIMULATOR_S3_PORT: "0", SIMULATOR_S3_POLICIES_FILE: file },
      ...{ AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" },
    }
    writeFileSync(file, JSON.stringify(users))
    expect(readConfig(given).users).toEqual(users)
    expect(problemsOf({ ...given, SIMULATOR_S3_PORT: "" })).toEqual([
      expect.stringMatching(/^SIMULATOR_S3_POLICIES_FILE is .* set SIMULATOR_S3_PORT/),
    ])
    const denying = {
      reader: { ...users.reader, policies: [{ Statement: { ...Statement, Effect: "Deny" } }] },
    }
    writeFileSync(file, JSON.stringify(denying))
    expect(problemsOf(given)).toEqual([expect.stringMatching(/policies\.json: reader\.policies\.0/)])
    writeFileSync(file, "{")
    expect(problemsOf(given)).toEqual([`SIMULATOR_S3_POLICIES_FILE: ${file} is not JSON`])
    expect(problemsOf({ ...given, SIMULATOR_S3_POLICIES_FILE: "/nowhere" })).toEqual([
      "SIMULATOR_S3_POLICIES_FILE: /nowhere can't be read (ENOENT)",
    ])
  })

  test("reports all problems at once", () => {
    const problems = problemsOf({
      SIMULATOR_PORT: "many",
      SIMULATOR_TAIL: "long",
      SIMULATOR_TIME_SCALE: "-1",
      SIMULATOR_SIZES_BYTES: "1000,large",
      SIMULATOR_STOER: "file:///recordings",
      SIMULATOR_S3_PORT: "9000",
      UNSEAL_PROT: "8080",
      LOG_LEVEL: "loud",
    })
    for (const name of [
      "SIMULATOR_PORT",
      "SIMULATOR_TAIL",
      "SIMULATOR_TIME_SCALE",
      "SIMULATOR_SIZES_BYTES",
      "SIMULATOR_STOER",
      "SIMULATOR_CERTIFICATE_FILE",
      "UNSEAL_PROT",
      "LOG_LEVEL",
      "AWS_ACCESS_KEY_ID",
    ])
      expect(
        problems.some((problem) => problem.includes(name)),
        name,
      ).toBe(true)
  })

  test("asks where to put the key of a missing certificate", () => {
    const missing = { ...enough, SIMULATOR_CERTIFICATE_FILE: join(directory, "none.pem") }
    expect(problemsOf(missing)).toEqual([expect.stringContaining("SIMULATOR_KEY_FILE")])
    expect(problemsOf({ ...missing, SIMULATOR_KEY_FILE: join(directory, "key.pem") })).toEqual([])
  })

  test("asks for an upload target unless it starts one", () => {
    const none = { ...enough, SIMULATOR_STORE: "" }
    const rest = { SIMULATOR_REST_PORT: "0", SIMULATOR_API_SECRET: "an-api-secret" }
    expect(problemsOf({ ...none, ...rest })).toEqual([expect.stringContaining("SIMULATOR_STORE")])
    const own = {
      ...none,
      SIMULATOR_S3_PORT: "0",
      AWS_ACCESS_KEY_ID: "access",
      AWS_SECRET_ACCESS_KEY: "secret",
    }
    expect(readConfig(own).credential).toEqual({ accessKeyId: "access", secretAccessKey: "secret" })
  })

  test("takes the quirks of its S3 server by name, and lists them if a name is unknown", () => {
    const own = {
      ...enough,
      SIMULATOR_S3_PORT: "0",
      AWS_ACCESS_KEY_ID: "access",
      AWS_SECRET_ACCESS_KEY: "secret",
    }
    const quirks = "hidden-keys, kms-etags"
    expect(readConfig({ ...own, SIMULATOR_S3_QUIRKS: quirks }).SIMULATOR_S3_QUIRKS).toEqual([
      "hidden-keys",
      "kms-etags",
    ])
    const [problem, ...others] = problemsOf({ ...own, SIMULATOR_S3_QUIRKS: "hidden-keys,hidden" })
    expect(others).toEqual([])
    expect(problem).toContain('SIMULATOR_S3_QUIRKS has no quirk "hidden"')
    for (const name of QUIRK_NAMES) expect(problem).toContain(`${name}: a store that ${QUIRKS[name].meaning}`)
    expect(problemsOf({ ...enough, SIMULATOR_S3_QUIRKS: quirks })).toEqual([
      expect.stringContaining("SIMULATOR_S3_PORT"),
    ])
  })

  test("takes the vendor's own credential only as a pair, and only for its own S3 server", () => {
    const access = { SIMULATOR_S3_UPLOAD_ACCESS_KEY: "vendor" }
    const both = { ...access, SIMULATOR_S3_UPLOAD_SECRET_KEY: "made up" }
    const own = {
      ...enough,
      SIMULATOR_S3_PORT: "0",
      AWS_ACCESS_KEY_ID: "id",
      AWS_SECRET_ACCESS_KEY: "secret",
    }
    expect(readConfig({ ...own, ...both })).toMatchObject(both)
    expect(problemsOf({ ...own, ...access })).toEqual([expect.stringContaining("set both or neither")])
    expect(problemsOf({ ...enough, ...both })).toEqual([
      expect.stringMatching(/^SIMULATOR_S3_UPLOAD_ACCESS_KEY is .* set SIMULATOR_S3_PORT/),
    ])
  })

  test("needs no certificate with a REST API, but needs credentials for it", () => {
    const rest = { SIMULATOR_STORE: "file:///recordings", SIMULATOR_REST_PORT: "0" }
    expect(problemsOf(rest)).toEqual([expect.stringContaining("SIMULATOR_API_SECRET")])
    expect(problemsOf({ ...rest, SIMULATOR_REST_AUTH: "vonage" })).toEqual([
      expect.stringContaining("SIMULATOR_PUBLIC_KEY_FILE"),
    ])
    const enough = { ...rest, SIMULATOR_API_SECRET: "an-api-secret" }
    expect(problemsOf({ ...enough, SIMULATOR_TLS_KEY_FILE: "key.pem" })).toEqual([
      expect.stringContaining("SIMULATOR_TLS_CERTIFICATE_FILE"),
    ])
    expect(readConfig(enough)).toMatchObject({
      SIMULATOR_REST_PORT: 0,
      SIMULATOR_REST_AUTH: "opentok",
      SIMULATOR_URL_LIFETIME_MS: 600_000,
      SIMULATOR_FALLBACK: false,
    })
  })

  test("takes secrets from files", () => {
    const secretFile = join(directory, "signature")
    writeFileSync(secretFile, "a-signature-secret\n")
    expect(readConfig({ ...enough, SIMULATOR_SIGNATURE_SECRET_FILE: secretFile })).toMatchObject({
      SIMULATOR_SIGNATURE_SECRET: "a-signature-secret",
    })
    expect(problemsOf({ ...enough, SIMULATOR_CALLBACK_TOKEN_FILE: join(directory, "none") })).toEqual([
      expect.stringContaining("SIMULATOR_CALLBACK_TOKEN_FILE"),
    ])
  })
})
