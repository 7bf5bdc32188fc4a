/** Which objects are asked back, and when. Stores answer, refuse, or lose the answer, and several processes follow each other. */
import { randomUUID } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import type { Archival, ArchiveStore, RestoreOptions, Restoring } from "@unseal/archive/store/contract"
import { type RestoreNotes, restoreNotes } from "@unseal/queue/backfill/restores"
import { restoresKey } from "@unseal/queue/names"
import { expect, test } from "vitest"
import { useQueue } from "../../../../test/harness/queue.ts"
import { createRestorer, type Restorer } from "./restore.ts"

const current = useQueue("restore")
const never = new AbortController().signal
const HOUR_MS = 3_600_000
const ARCHIVED: Archival = { storageClass: "GLACIER", isRestoring: false }
const RESTORING: Archival = { storageClass: "GLACIER", isRestoring: true }

/** A store whose objects are archived, unless `states` says otherwise. `null`: there is none. */
function world() {
  const states = new Map<string, Archival | "readable" | null>()
  const looked: string[] = []
  const asked: { key: string; options: RestoreOptions }[] = []
  const source: Pick<ArchiveStore, "stat" | "restore"> = {
    async stat(key) {
      looked.push(key)
      const archival = states.get(key) === undefined ? ARCHIVED : states.get(key)!
      if (archival === null) return null
      return { key, size: 1, etag: "e", metadata: {}, ...(archival !== "readable" && { archival }) }
    },
    async restore({ key }, options) {
      asked.push({ key, options })
      return it.answer(key)
    },
  }
  const answer = async (key: string): Promise<Restoring> => {
    states.set(key, RESTORING)
    return "asked"
  }
  const it = { states, looked, asked, answer, source }
  return it
}

function notebook(): RestoreNotes & { readonly kept: Map<string, number> } {
  const kept = new Map<string, number>()
  return {
    kept,
    load: async () => new Map(kept),
    add: async (id, at) => void kept.set(id, at),
    remove: async (id) => void kept.delete(id),
    clear: async () => kept.clear(),
  }
}

const archive = (name: string) => ({ projectId: "100001", archiveId: name })
const prepare = (restorer: Restorer, { source }: ReturnType<typeof world>, name: string) =>
  restorer.prepare(archive(name), source, [`${name}.ts`], never)

test("an archived object is asked back once, waited for, and then ready", async () => {
  const [it, notes] = [world(), notebook()]
  let now = 0
  const restorer = createRestorer({ tier: "bulk", most: 10 }, notes, () => now)
  expect(await prepare(restorer, it, "a")).toBe("waiting")
  expect(it.asked).toEqual([{ key: "a.ts", options: { tier: "bulk", days: 7 } }])
  expect(restorer.open).toBe(1)
  // However often `prepare` is called, it asks the store only every two minutes.
  for (now = 1_000; now <= 120_000; now += 1_000) expect(await prepare(restorer, it, "a")).toBe("waiting")
  expect(it.looked).toHaveLength(2)
  it.states.set("a.ts", "readable")
  now += 120_000
  expect(await prepare(restorer, it, "a")).toBe("ready")
  expect(it.asked).toHaveLength(1)
  expect([restorer.open, notes.kept.size]).toEqual([0, 0])
})

test("an object that can be read, or does not exist, is ready, and the first key that has an object counts", async () => {
  const it = world()
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook())
  it.states.set("a.ts", "readable").set("b.ts", null).set("c.mp4", "readable")
  expect(await prepare(restorer, it, "a")).toBe("ready")
  expect(await prepare(restorer, it, "b")).toBe("ready")
  expect(await restorer.prepare(archive("c"), it.source, ["b.ts", "c.mp4", "d.ts"], never)).toBe("ready")
  expect(it.looked).toEqual(["a.ts", "b.ts", "b.ts", "c.mp4"])
  expect(it.asked).toEqual([])
})

test("no more than the limit are on their way, even with calls at the same time, and the next one takes the first free place", async () => {
  const it = world()
  let now = 0
  const restorer = createRestorer({ tier: "standard", most: 3 }, notebook(), () => now)
  const names = ["a", "b", "c", "d", "e"]
  const prepared = await Promise.all(names.map((name) => prepare(restorer, it, name)))
  expect(prepared.toSorted()).toEqual(["full", "full", "waiting", "waiting", "waiting"])
  expect([it.asked.length, restorer.open]).toEqual([3, 3])
  // What is known to be archived is not looked at again while there is no place.
  const looks = it.looked.length
  expect(await prepare(restorer, it, "d")).toBe("full")
  expect(it.looked).toHaveLength(looks)
  // What is readable need not wait for a place.
  it.states.set("f.ts", "readable")
  expect(await prepare(restorer, it, "f")).toBe("ready")
  now += 130_000
  it.states.set("a.ts", "readable")
  expect(await prepare(restorer, it, "a")).toBe("ready")
  expect(await prepare(restorer, it, "d")).toBe("waiting")
  expect(await prepare(restorer, it, "e")).toBe("full")
  expect(it.asked.map(({ key }) => key)).toEqual(["a.ts", "b.ts", "c.ts", "d.ts"])
})

test("the next process keeps the limit, asks for nothing twice, and counts what others have asked for", async () => {
  const it = world()
  const id = randomUUID()
  const notes = restoreNotes(current.client, current.name, id)
  const first = createRestorer({ tier: "bulk", most: 2 }, notes)
  for (const name of ["a", "b"]) expect(await prepare(first, it, name)).toBe("waiting")
  const second = createRestorer({ tier: "bulk", most: 2 }, notes)
  // It is first called for an archive that the other process has not reached.
  expect(await prepare(second, it, "c")).toBe("full")
  expect(second.open).toBe(2)
  for (const name of ["a", "b"]) expect(await prepare(second, it, name)).toBe("waiting")
  expect(it.asked).toHaveLength(2)
  // Somebody else's request is not repeated, and takes a place as well.
  it.states.set("d.ts", RESTORING)
  expect(await prepare(second, it, "d")).toBe("waiting")
  expect([it.asked.length, second.open]).toEqual([2, 3])
  // Redis and the process have both lost their memory: the stores still know.
  await notes.clear()
  const third = createRestorer({ tier: "bulk", most: 2 }, notes)
  for (const name of ["a", "b"]) expect(await prepare(third, it, name)).toBe("waiting")
  expect(await prepare(third, it, "c")).toBe("full")
  expect(it.asked).toHaveLength(2)
  await third.forget(archive("a"))
  expect(await prepare(third, it, "c")).toBe("waiting")
  expect(await notes.load()).toHaveProperty("size", 2)
  // A backfill that nobody ends leaves nothing behind for ever.
  expect(await current.client.ttl(restoresKey(current.name, id))).toBeGreaterThan(86_400)
  await notes.clear()
})

test("a process that died between its note and its request leaves no archive that waits for nothing", async () => {
  const [it, notes] = [world(), notebook()]
  const archived = "100001_a"
  notes.kept.set(archived, Date.now() - HOUR_MS)
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notes)
  expect(await prepare(restorer, it, "a")).toBe("waiting")
  expect(it.asked).toHaveLength(1)
})

test.for(["ERR_STORE_DENIED", "ERR_STORE_BUSY"] as const)(
  "a refused request (%s) is a trouble of the source, and takes no place",
  async (code, { expect }) => {
    const [it, notes] = [world(), notebook()]
    const restorer = createRestorer({ tier: "bulk", most: 1 }, notes)
    it.answer = () => Promise.reject(new UnsealError(code, "refused"))
    for (const name of ["a", "b", "a"])
      await expect(prepare(restorer, it, name)).rejects.toThrow(
        expect.objectContaining({ code, side: "source" }),
      )
    expect([restorer.open, notes.kept.size]).toEqual([0, 0])
    it.answer = async () => "asked"
    expect(await prepare(restorer, it, "b")).toBe("waiting")
  },
)

test("a request whose answer was lost keeps its place until a look shows its outcome, or for ten minutes", async () => {
  const it = world()
  let now = 0
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook(), () => now)
  const lost = new UnsealError("ERR_STORE_UNAVAILABLE", "no answer")
  it.answer = async (key) => {
    it.states.set(key, RESTORING)
    throw lost
  }
  await expect(prepare(restorer, it, "a")).rejects.toThrow(lost)
  expect(await prepare(restorer, it, "b")).toBe("full")
  expect(await prepare(restorer, it, "a")).toBe("waiting")
  expect(it.asked).toHaveLength(1)

  const other = createRestorer({ tier: "bulk", most: 1 }, notebook(), () => now)
  it.answer = () => Promise.reject(lost)
  await expect(prepare(other, it, "c")).rejects.toThrow(lost)
  expect(await prepare(other, it, "d")).toBe("full")
  now += 11 * 60_000
  it.answer = async () => "asked"
  expect(await prepare(other, it, "d")).toBe("waiting")
})

test("a look that fails takes no place, and names its side", async () => {
  const it = world()
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook())
  const down = new UnsealError("ERR_STORE_UNAVAILABLE", "no answer")
  const source = { ...it.source, stat: () => Promise.reject(down) }
  await expect(restorer.prepare(archive("a"), source, ["a.ts"], never)).rejects.toThrow(
    expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE", side: "source" }),
  )
  expect(restorer.open).toBe(0)
})

test("an object that is gone, or was restored meanwhile, is ready", async () => {
  const it = world()
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook())
  it.answer = () => Promise.reject(new UnsealError("ERR_OBJECT_NOT_FOUND", "gone"))
  expect(await prepare(restorer, it, "a")).toBe("ready")
  it.answer = async () => "readable"
  expect(await prepare(restorer, it, "b")).toBe("ready")
  expect(restorer.open).toBe(0)
})

test("a store that accepts a request and never shows it is asked again after an hour, and given up after four days", async () => {
  const it = world()
  let now = 0
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook(), () => now)
  it.answer = async () => "asked"
  let prepared = await prepare(restorer, it, "a")
  let rounds = 0
  for (; prepared === "waiting" && rounds < 10_000; rounds++) {
    now += 120_000
    prepared = await prepare(restorer, it, "a")
  }
  expect(prepared).toBe("ready")
  expect(now).toBe(4 * 24 * HOUR_MS)
  expect(it.asked.length).toBeLessThanOrEqual(4 * 24 + 1)
  expect(restorer.open).toBe(0)
})

test("a place is free again after four days if nobody asks about its archive any more", async () => {
  const it = world()
  let now = 0
  const restorer = createRestorer({ tier: "bulk", most: 1 }, notebook(), () => now)
  expect(await prepare(restorer, it, "a")).toBe("waiting")
  expect(await prepare(restorer, it, "b")).toBe("full")
  now = 4 * 24 * HOUR_MS + 2 * HOUR_MS
  expect(await prepare(restorer, it, "b")).toBe("waiting")
})

test("notes that can't be read are read again, and nothing is asked back before", async () => {
  const [it, notes] = [world(), notebook()]
  let fails = true
  const load = async () => {
    if (fails) throw new Error("redis is away")
    return new Map([["100001_z", Date.now()]])
  }
  const restorer = createRestorer({ tier: "bulk", most: 1 }, { ...notes, load })
  await expect(prepare(restorer, it, "a")).rejects.toThrow("redis is away")
  fails = false
  expect(await prepare(restorer, it, "a")).toBe("full")
  expect(it.asked).toEqual([])
})
