import { ERROR_CODES, UnsealError } from "@unseal/archive/errors"
import { createLogger } from "@unseal/service/log/logger"
import { beforeEach, expect, test } from "vitest"
import type { Place, Places } from "../run/project-resources.ts"
import { surveyProjects } from "./survey.ts"

let lines: Record<string, unknown>[]
beforeEach(() => {
  lines = []
})
const logger = createLogger("worker", "info", { write: (line) => void lines.push(JSON.parse(line)) })
const KEY = { keyId: "ab".repeat(32), name: "2026.pem", modulusBits: 2_048 }

function placeOf(
  more: { stat?: () => Promise<null>; keys?: readonly (typeof KEY)[]; ignored?: string[] } = {},
): Place {
  const store = (location: string) => ({ location, stat: more.stat ?? (async () => null) })
  return {
    ...{ source: store("s3://in"), destination: store("s3://out") },
    ...{ sourceKeys: ["a.ts"], destinationKey: "b.ts", release() {} },
    keyRing: {
      describe: () => more.keys ?? [KEY],
      location: "/keys",
      problems: () => [],
      notes: () => (more.ignored ?? []).map((message) => ({ name: message, kind: "ignored", message })),
      certificates: () => [{ keyId: KEY.keyId, notAfter: new Date("2027-01-02T03:04:05Z") }],
    },
  } as unknown as Place
}

const survey = (projectIds: readonly string[], of: (id: string) => Promise<Place>, lookMs = 1_000) =>
  surveyProjects({
    ...{
      projectIds,
      logger,
      lookMs,
      settings: { UNSEAL_TAIL: "keep" },
      signal: new AbortController().signal,
    },
    places: { of: ({ projectId }) => of(projectId) } as Pick<Places, "of">,
  })

test("a well-configured project is one line: stores, key ids with expiry, tail rule", async () => {
  await survey(["100001"], async () => placeOf())
  expect(lines).toMatchObject([
    {
      ...{ level: "info", msg: "project is set up", projectId: "100001", tail: "keep" },
      ...{ source: "s3://in", destination: "s3://out" },
      keys: [{ keyId: KEY.keyId, file: "2026.pem", expires: "2027-01-02T03:04:05.000Z" }],
    },
  ])
})

test("what is missing is named: keys, a store that refuses, one that does not answer, one that can't be opened", async () => {
  const denied = async () => {
    throw new UnsealError("ERR_STORE_DENIED", "bucket s3://in does not exist")
  }
  const places: Record<string, () => Promise<Place>> = {
    1: async () => placeOf({ keys: [] }),
    2: async () => placeOf({ stat: denied }),
    3: async () => placeOf({ stat: () => new Promise(() => {}) }),
    4: async () => {
      throw new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "key directory /keys can't be read: ENOENT")
    },
  }
  await survey(Object.keys(places), (id) => places[id]!(), 50)
  const told = Object.fromEntries(lines.map(({ projectId, problems }) => [projectId, problems]))
  const refusal = `ERR_STORE_DENIED: bucket s3://in does not exist; ${ERROR_CODES.ERR_STORE_DENIED.remedy}`
  expect(told).toEqual({
    1: ["keys: /keys holds no usable key"],
    2: [`source: ${refusal}`, `destination: ${refusal}`],
    3: ["source: no answer within 50 ms", "destination: no answer within 50 ms"],
    4: [
      `ERR_KEY_SERVICE_UNAVAILABLE: key directory /keys can't be read: ENOENT; ${ERROR_CODES.ERR_KEY_SERVICE_UNAVAILABLE.remedy}`,
    ],
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
    return placeOf()
  })
  expect(most).toBeLessThanOrEqual(4)
  expect(lines.map(({ projectId }) => projectId).sort()).toEqual(ids(100).sort())
})

test("with more, no stores and keys are opened, and one line says how many projects there are", async () => {
  let opened = 0
  await survey(ids(101), async () => {
    opened++
    return placeOf()
  })
  expect(opened).toBe(0)
  expect(lines).toMatchObject([
    { level: "info", projects: 101, msg: expect.stringContaining("first archive") },
  ])
})

test("a directory without a key says which of its files were ignored, and why", async () => {
  await survey(["1"], async () =>
    placeOf({
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
