import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"
import {
  ConfigurationError,
  choice,
  flag,
  integer,
  milliseconds,
  port,
  readSettings,
  readTogether,
  text,
  url,
} from "./settings.ts"
import { defaultOf, SETTINGS, type SettingName } from "./table.ts"

const schema = z.object({
  REDIS_URL: url(["redis", "rediss"]),
  UNSEAL_PORT: port(),
  UNSEAL_HOST: text().optional(),
  UNSEAL_SIGNATURE_SECRET: text().optional(),
  UNSEAL_ALLOW_UNAUTHENTICATED: flag(),
})
const read = (env: Record<string, string>) => readSettings("ingest", schema, env)

function problemsOf(act: () => unknown): readonly string[] {
  try {
    act()
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-settings-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("readSettings", () => {
  it("has the table's defaults for the process if nothing is set", () => {
    expect(read({})).toEqual({
      REDIS_URL: "redis://127.0.0.1:6379",
      UNSEAL_PORT: 8080,
      UNSEAL_ALLOW_UNAUTHENTICATED: false,
    })
    expect(readSettings("worker", z.object({ UNSEAL_ADMIN_PORT: port() }), {}).UNSEAL_ADMIN_PORT).toBe(9091)
  })

  it("treats an empty variable as unset", () => {
    expect(read({ UNSEAL_PORT: "", UNSEAL_SIGNATURE_SECRET_FILE: "" })).toEqual(read({}))
  })

  it("reads a secret from a file, without one trailing line break", () => {
    const file = join(directory, "secret")
    for (const [content, secret] of [
      ["s3cret", "s3cret"],
      ["s3cret\n", "s3cret"],
      ["s3cret\r\n", "s3cret"],
      ["s3cret \n\n", "s3cret \n"],
    ] as const) {
      writeFileSync(file, content)
      expect(read({ UNSEAL_SIGNATURE_SECRET_FILE: file }).UNSEAL_SIGNATURE_SECRET).toBe(secret)
    }
  })

  it("lists every problem at once, without the value of a secret", () => {
    const problems = problemsOf(() =>
      read({
        REDIS_URL: "http://user:hunter2@host",
        UNSEAL_PORT: "80a",
        UNSEAL_ALLOW_UNAUTHENTICATED: "yes",
        UNSEAL_SIGNATURE_SECRET_FILE: "/no/such/file",
        UNSEAL_PROT: "1",
      }),
    )
    expect(problems).toEqual([
      "UNSEAL_PROT is not a setting: did you mean UNSEAL_PORT?",
      "UNSEAL_SIGNATURE_SECRET_FILE: /no/such/file can't be read (ENOENT)",
      "REDIS_URL must be a URL with redis:// or rediss://",
      'UNSEAL_PORT must be a whole number from 0 to 65535, not "80a"',
      'UNSEAL_ALLOW_UNAUTHENTICATED must be 1 or 0, not "yes"',
    ])
    expect(problems.join()).not.toContain("hunter2")
  })

  it("refuses a secret that is set twice, and one whose file is empty", () => {
    const file = join(directory, "empty")
    writeFileSync(file, "\n")
    const [twice] = problemsOf(() =>
      read({ UNSEAL_SIGNATURE_SECRET: "hunter2", UNSEAL_SIGNATURE_SECRET_FILE: file }),
    )
    expect(twice).toBe(
      "UNSEAL_SIGNATURE_SECRET and UNSEAL_SIGNATURE_SECRET_FILE are both set: keep one of them",
    )
    expect(problemsOf(() => read({ UNSEAL_SIGNATURE_SECRET_FILE: file }))).toEqual([
      `UNSEAL_SIGNATURE_SECRET_FILE: ${file} is empty`,
    ])
  })

  it("accepts the names of other processes, because one .env serves them all", () => {
    expect(problemsOf(() => read({ UNSEAL_CONCURRENCY: "not even a number", AWS_REGION: "x" }))).toEqual([])
  })

  it("accepts only secrets as files", () => {
    expect(problemsOf(() => read({ UNSEAL_PORT_FILE: "/x" }))).toEqual([
      "UNSEAL_PORT_FILE is not a setting: did you mean UNSEAL_PORT?",
    ])
  })

  it("answers an earlier name with the present one", () => {
    expect(problemsOf(() => read({ UNSEAL_KEYS_DIR: "/keys" }))).toEqual([
      "UNSEAL_KEYS_DIR is called UNSEAL_KEYS now: rename it",
    ])
  })

  it("distinguishes what Kubernetes adds for a Service from a typing error", () => {
    const [problem] = problemsOf(() => read({ UNSEAL_INGEST_SERVICE_HOST: "10.0.0.1" }))
    expect(problem).toContain("enableServiceLinks: false")
  })

  it("says what a missing setting is for", () => {
    const required = z.object({ UNSEAL_PROJECTS_FILE: text() })
    expect(problemsOf(() => readSettings("ingest", required, {}))).toEqual([
      `UNSEAL_PROJECTS_FILE is not set: ${SETTINGS.UNSEAL_PROJECTS_FILE.meaning}`,
    ])
  })
})

describe("the forms of settings", () => {
  const parse = (schema: z.ZodType, value: string) => schema.safeParse(value)

  it("limit whole numbers to their range", () => {
    expect(parse(integer({ min: 1, max: 10 }), "10").data).toBe(10)
    for (const wrong of ["0", "11", "1.5", "1e1", " 1", "0x1", "", "٣"])
      expect(parse(integer({ min: 1, max: 10 }), wrong).success, wrong).toBe(false)
  })

  it("understand durations with and without a unit", () => {
    for (const [written, value] of [
      ["250", 250],
      ["250ms", 250],
      ["30s", 30_000],
      ["15m", 900_000],
      ["25h", 90_000_000],
    ] as const)
      expect(parse(milliseconds(), written).data).toBe(value)
    for (const wrong of ["-1", "1d", "1.5s", "s", "99999h"])
      expect(parse(milliseconds(), wrong).success, wrong).toBe(false)
  })

  it("understand flags and choices", () => {
    expect(["1", "true", "0", "false"].map((value) => parse(flag(), value).data)).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(parse(choice(["keep", "trim"]), "keep").data).toBe("keep")
    expect(parse(choice(["keep", "trim"]), "Keep").error?.issues[0]?.message).toBe(
      "must be one of keep, trim",
    )
  })
})

describe("readTogether", () => {
  it("throws the problems of all its readers as one error", () => {
    const fail = (problem: string) => () => {
      throw new ConfigurationError([problem])
    }
    expect(problemsOf(() => readTogether(fail("a"), () => 1, fail("b")))).toEqual(["a", "b"])
    expect(
      readTogether(
        () => 1,
        () => "x",
      ),
    ).toEqual([1, "x"])
  })

  it("passes on any other error", () => {
    expect(() =>
      readTogether(() => {
        throw new RangeError("bug")
      }),
    ).toThrow(RangeError)
  })
})

describe("the table of settings", () => {
  it("has a default only for processes that read the setting", () => {
    for (const name of Object.keys(SETTINGS) as SettingName[]) {
      const { default: value, for: processes } = SETTINGS[name]
      if (typeof value !== "object" || value === null) continue
      expect([...processes].sort(), name).toEqual(Object.keys(value).sort())
      for (const process of processes) expect(defaultOf(name, process), name).toBeDefined()
    }
  })
})
