import { UnsealError } from "@unseal/archive/errors"
import type { StoreNotice } from "@unseal/archive/store/notices"
import type { WorkerProject } from "@unseal/service/projects/projects"
import { expect, test } from "vitest"
import { type Check, type DoctorAccess, examine } from "./doctor.ts"

const KEY_ID = "ab".repeat(32)
const NOW = Date.parse("2026-11-27T12:00:00Z")
const never = new AbortController().signal
const forever = () => new Promise<never>(() => {})

/** A store in which nothing is, that takes an upload. `more` replaces what a case needs otherwise. */
function storeOf(more: object = {}) {
  const done: string[] = []
  const writer = {
    async writePart(number: number, [body]: Uint8Array[]) {
      done.push(`part ${number} of ${body!.length}`)
    },
    written: async () => new Map([[2, { size: 16, tag: "x" }]]),
    async abort() {
      done.push("abort")
    },
  }
  const store = {
    location: "s3://bucket",
    stat: async () => null,
    partSizeFor: () => 5_000_000,
    async create(_key: string, size: number) {
      done.push(`create ${size}`)
      return { ...writer, ...("writer" in more ? (more.writer as object) : {}) }
    },
    async *openUploads() {},
    close: async () => {},
    ...more,
  }
  return { store, done }
}

const ringOf = (more: object = {}) => ({
  location: "/keys",
  describe: () => [{ keyId: KEY_ID, name: "2026.pem", modulusBits: 2_048 }],
  problems: () => [],
  notes: () => [],
  certificates: () => [{ keyId: KEY_ID, notAfter: new Date("2027-11-27T12:00:00Z") }],
  close: async () => {},
  ...more,
})

const projectOf = (id: string): WorkerProject =>
  ({
    ...{ id, source: "source", destination: "destination", keys: "keys" },
    ...{ sourceKeys: ["{projectId}/{archiveId}/a.ts"], destinationKey: "{projectId}/{archiveId}/b.ts" },
  }) as unknown as WorkerProject

interface World {
  readonly source?: object
  readonly destination?: object
  readonly ring?: object
  readonly notice?: StoreNotice
  readonly openKeyRing?: () => Promise<never>
  readonly vendor?: object | string
}

const accessOf = ({ source, destination, ring, notice, openKeyRing, vendor = "no credentials" }: World) =>
  ({
    openStore: async (url: string, onNotice: (notice: StoreNotice) => void) => {
      if (notice && url === "source") onNotice(notice)
      return storeOf(url === "source" ? source : destination).store
    },
    openKeyRing: openKeyRing ?? (async () => ringOf(ring)),
    openVendor: () => vendor,
  }) as unknown as DoctorAccess

async function look(world: World, now = NOW, limitMs = 5_000): Promise<Record<string, Check>> {
  const options = { redis: null, projects: [projectOf("1")], limitMs, now: () => now }
  const checks = await Array.fromAsync(examine(accessOf(world), options, never))
  return Object.fromEntries(checks.map((check) => [check.name, check]))
}

test("a project that is well has no move, and what it lacks by choice is not checked", async () => {
  const checks = await look({})
  expect(Object.values(checks).map(({ status, moves }) => [status, moves])).toEqual([
    ...Array.from({ length: 4 }, () => ["ok", []]),
    ["not checked", []],
  ])
  expect(checks.keys!.seen).toBe(`1 in /keys: 2026.pem (2048 bits, ${KEY_ID.slice(0, 16)})`)
  expect(checks.certificates!.seen).toBe("the certificate of 2026.pem expires on 2027-11-27, in 365 days")
  expect(checks.vendor!.seen).toBe("no credentials")
})

test("a destination is written to as a worker does, with 16 bytes, and left as it was", async () => {
  const { store, done } = storeOf()
  const checks = await look({ destination: store })
  expect(done).toEqual(["create 5000016", "part 2 of 16", "abort"])
  expect(checks.destination).toMatchObject({ status: "ok" })
})

const denied = (what: string) => async () => {
  throw new UnsealError("ERR_STORE_DENIED", `${what} denied`, { remedy: `grant ${what}` })
}

const refusing = () => ({ [Symbol.asyncIterator]: () => ({ next: denied("ListUploads") }) })

test.for<[string, World, string, Partial<Check>]>([
  [
    "a source that refuses",
    { source: { stat: denied("GetObject") } },
    "source",
    {
      status: "failed",
      seen: "ERR_STORE_DENIED: GetObject denied",
      moves: [{ whose: "store", what: "grant GetObject" }],
    },
  ],
  [
    "a destination that refuses writes",
    { destination: { create: denied("PutObject") } },
    "destination",
    { status: "failed", moves: [{ whose: "store", what: "grant PutObject" }] },
  ],
  [
    "one that refuses the list of parts, without which nothing can be resumed",
    { destination: { writer: { written: denied("ListParts") } } },
    "destination",
    { status: "failed", moves: [{ whose: "store", what: "grant ListParts" }] },
  ],
  [
    "one that loses a part",
    { destination: { writer: { written: async () => new Map() } } },
    "destination",
    { status: "failed", seen: expect.stringContaining("lists 0 parts without it") },
  ],
  [
    "one that refuses the list of uploads, and that ends none: no conditions of work",
    { destination: { openUploads: refusing, writer: { abort: denied("Abort") } } },
    "destination",
    {
      status: "warning",
      moves: [
        { whose: "store", what: "grant ListUploads" },
        { whose: "store", what: "grant Abort" },
      ],
    },
  ],
  [
    "keys that can't be read",
    {
      openKeyRing: async () => {
        throw new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "key directory /keys can't be read: ENOENT")
      },
    },
    "keys",
    { status: "failed", seen: "ERR_KEY_SERVICE_UNAVAILABLE: key directory /keys can't be read: ENOENT" },
  ],
  [
    "a directory without a key",
    { ring: { describe: () => [] } },
    "keys",
    { status: "failed", seen: "/keys holds no usable key" },
  ],
  [
    "a key that can't be used beside one that can",
    {
      ring: {
        problems: () => [{ name: "b.pem", error: new UnsealError("ERR_KEY_INVALID", "b.pem is empty") }],
      },
    },
    "keys",
    {
      status: "warning",
      seen: expect.stringMatching(/^1 in \/keys: .*; b\.pem can't be used: ERR_KEY_INVALID: b\.pem is empty/),
    },
  ],
  [
    "a key that everybody may read",
    { ring: { notes: () => [{ name: "2026.pem", kind: "exposed", message: "can be read by all" }] } },
    "keys",
    { status: "warning", seen: expect.stringContaining("2026.pem: can be read by all") },
  ],
  [
    "credentials that the vendor refuses",
    { vendor: { getArchive: denied("the request is not authenticated (401)") } },
    "vendor",
    { status: "failed", moves: [{ whose: "operator", what: expect.any(String) }] },
  ],
  [
    "a clock that differs from the store's",
    { notice: { what: "clock-skew", seconds: -3_600 } },
    "source",
    {
      status: "warning",
      seen: expect.stringContaining("3600 s behind"),
      moves: [{ whose: "clock", what: expect.any(String) }],
    },
  ],
  [
    "a store that denies looks at what is not there",
    { notice: { what: "blind" } },
    "source",
    { status: "warning", moves: [{ whose: "store", what: "grant s3:ListBucket (docs/permissions.md)" }] },
  ],
])("%s", async ([, world, name, expected], { expect }) => {
  const checks = await look(world)
  expect(checks[name]).toMatchObject(expected)
  const others = Object.values(checks).filter((check) => check.name !== name && check.name !== "certificates")
  expect(others.filter(({ status }) => status === "failed" || status === "warning")).toEqual([])
})

test("a certificate that has expired or will soon is a warning, since its key still decrypts", async () => {
  const day = 86_400_000
  expect((await look({}, NOW + 360 * day)).certificates).toMatchObject({
    status: "warning",
    seen: "the certificate of 2026.pem expires on 2027-11-27, in 5 days",
  })
  expect((await look({}, NOW + 400 * day)).certificates).toMatchObject({
    status: "warning",
    seen: "the certificate of 2026.pem expired on 2027-11-27, 35 days ago; its key still decrypts",
  })
})

test("what never answers ends each check in time, wherever it hangs", async () => {
  const silent = { status: "failed", seen: expect.stringMatching(/no answer within 30 ms$/) }
  const looks = await look(
    { source: { stat: forever }, destination: { stat: forever }, vendor: { getArchive: forever } },
    NOW,
    30,
  )
  expect(looks).toMatchObject({ source: silent, destination: silent, vendor: silent })
  const later = await look({ destination: { writer: { abort: forever } }, openKeyRing: forever }, NOW, 30)
  expect(later).toMatchObject({ destination: silent, keys: silent, certificates: { status: "not checked" } })
  const closing = await look({ source: { close: forever }, ring: { close: forever } }, NOW, 30)
  expect(closing).toMatchObject({ source: { status: "ok" }, keys: { status: "ok" } })
})

test("only the name of a foreign error is shown, because its message may hold anything", async () => {
  const stat = async () => {
    throw new TypeError("secret")
  }
  const { source } = await look({ source: { stat } })
  expect(source).toMatchObject({ status: "failed", seen: "TypeError" })
  expect(JSON.stringify(source)).not.toContain("secret")
})

test("many projects are looked at eight at a time, and reported in their order", async () => {
  const ids = Array.from({ length: 50 }, (_, index) => String(index))
  let now = 0
  let most = 0
  const openKeyRing = async () => {
    most = Math.max(most, ++now)
    await new Promise((resolve) => setTimeout(resolve, (Number(ids.length) * 7) % 5))
    now--
    return ringOf()
  }
  const access = { ...accessOf({}), openKeyRing } as unknown as DoctorAccess
  const checks = await Array.fromAsync(examine(access, { redis: null, projects: ids.map(projectOf) }, never))
  expect([...new Set(checks.map(({ projectId }) => projectId))]).toEqual(ids)
  expect(checks).toHaveLength(250)
  expect(most).toBeLessThanOrEqual(8)
})

test("an abort ends it with its reason", async () => {
  const stopping = new AbortController()
  const checks = examine(
    accessOf({ source: { stat: forever } }),
    { redis: null, projects: [projectOf("1")] },
    stopping.signal,
  )
  const first = checks.next()
  stopping.abort(new Error("interrupted"))
  await expect(first).rejects.toThrow("interrupted")
})
