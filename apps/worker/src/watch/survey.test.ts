import { ERROR_CODES, UnsealError } from "@unseal/archive/errors"
import { createLogger } from "@unseal/service/log/logger"
import { beforeEach, expect, test } from "vitest"
import type { OpenedSides, ProjectResources } from "../run/project-resources.ts"
import { surveyProjects } from "./survey.ts"

let lines: Record<string, unknown>[]
beforeEach(() => {
  lines = []
})
const logger = createLogger("worker", "info", { write: (line) => void lines.push(JSON.parse(line)) })
const KEY = { keyId: "ab".repeat(32), name: "2026.pem", modulusBits: 2_048 }

const opened = (value: unknown) => ({ status: "fulfilled", value })
const failed = (reason: UnsealError) => ({ status: "rejected", reason }) satisfies PromiseRejectedResult

function sidesOf(
  more: { stat?: () => Promise<null>; keys?: readonly (typeof KEY)[]; ignored?: string[] } & Partial<
    Pick<OpenedSides, "source" | "destination" | "keyRing">
  > = {},
): OpenedSides {
  const { stat = async () => null, keys: _, ignored: __, ...given } = more
  const store = (location: string) => opened({ location, stat })
  return {
    ...{ source: store("s3://in"), destination: store("s3://out") },
    ...{ sourceKeys: ["a.ts"], destinationKey: "b.ts", release() {} },
    keyRing: opened({
      describe: () => more.keys ?? [KEY],
      location: "/keys",
      problems: () => [],
      notes: () => (more.ignored ?? []).map((message) => ({ name: message, kind: "ignored", message })),
      certificates: () => [{ keyId: KEY.keyId, notAfter: new Date("2027-01-02T03:04:05Z") }],
    }),
    ...given,
  } as unknown as OpenedSides
}

const survey = (projectIds: readonly string[], sides: (id: string) => Promise<OpenedSides>, lookMs = 1_000) =>
  surveyProjects({
    ...{
      projectIds,
      logger,
      lookMs,
      settings: { UNSEAL_TAIL: "keep" },
      signal: new AbortController().signal,
    },
    projectResources: { sides: ({ projectId }) => sides(projectId) } satisfies Pick<
      ProjectResources,
      "sides"
    >,
  })

test("a well-configured project is one line: stores, key ids with expiry, tail rule", async () => {
  await survey(["100001"], async () => sidesOf())
  expect(lines).toMatchObject([
    {
      ...{ level: "info", msg: "project is set up", projectId: "100001", tail: "keep" },
      ...{ source: "s3://in", destination: "s3://out" },
      keys: [{ keyId: KEY.keyId, file: "2026.pem", expires: "2027-01-02T03:04:05.000Z" }],
    },
  ])
})

test("what is missing is named: keys, a store that refuses, one that does not answer, what can't be opened; all at once", async () => {
  const denied = async () => {
    throw new UnsealError("ERR_STORE_DENIED", "bucket s3://in does not exist")
  }
  const noKeys = new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "key directory /keys can't be read: ENOENT")
  const noFolder = new UnsealError("ERR_STORE_UNAVAILABLE", "directory /out can't be opened: ENOENT")
  const clause = ({ code, message, remedy }: UnsealError) => `${code}: ${message}; ${remedy}`
  const projects: Record<string, () => Promise<OpenedSides>> = {
    1: async () => sidesOf({ keys: [] }),
    2: async () => sidesOf({ stat: denied }),
    3: async () => sidesOf({ stat: () => new Promise(() => {}) }),
    4: async () => {
      throw new UnsealError("ERR_JOB_INVALID", "project 4 is not configured here")
    },
    5: async () => sidesOf({ stat: denied, keyRing: failed(noKeys), destination: failed(noFolder) }),
  }
  await survey(Object.keys(projects), (id) => projects[id]!(), 50)
  const told = Object.fromEntries(lines.map(({ projectId, problems }) => [projectId, problems]))
  const refusal = `ERR_STORE_DENIED: bucket s3://in does not exist; ${ERROR_CODES.ERR_STORE_DENIED.remedy}`
  expect(told).toEqual({
    1: ["keys: /keys holds no usable key"],
    2: [`source: ${refusal}`, `destination: ${refusal}`],
    3: ["source: no answer within 50 ms", "destination: no answer within 50 ms"],
    4: [`ERR_JOB_INVALID: project 4 is not configured here; ${ERROR_CODES.ERR_JOB_INVALID.remedy}`],
    5: [`source: ${refusal}`, `destination: ${clause(noFolder)}`, `keys: ${clause(noKeys)}`],
  })
  expect(lines.every(({ level }) => level === "warn")).toBe(true)
})

const ids = (count: number) => Array.from({ length: count }, (_, index) => String(index))

test("a hundred projects are looked at, four at once", async () => {
  let now = 0
  let most = 0
  await survey(ids(100), async () => {
    most = Math.max(most, ++now)
    await new Promise(setImmediate)
    now--
    return sidesOf()
  })
  expect(most).toBeLessThanOrEqual(4)
  expect(lines.map(({ projectId }) => projectId).sort()).toEqual(ids(100).sort())
})

test("with more, no stores and keys are opened, and one line says how many projects there are", async () => {
  let opened = 0
  await survey(ids(101), async () => {
    opened++
    return sidesOf()
  })
  expect(opened).toBe(0)
  expect(lines).toMatchObject([
    { level: "info", projects: 101, msg: expect.stringContaining("first archive") },
  ])
})

test("a directory without a key says which of its files were ignored, and why", async () => {
  await survey(["1"], async () =>
    sidesOf({
      keys: [],
      ignored: [
        "key.pem.bak is ignored: its name does not end in .pem",
        "old.passphrase is ignored: there is no old.pem beside it",
      ],
    }),
  )
  expect(lines[0]!.problems).toEqual([
    "keys: /keys holds no usable key; key.pem.bak is ignored: its name does not end in .pem; old.passphrase is ignored: there is no old.pem beside it",
  ])
})
