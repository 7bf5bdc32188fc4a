import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { expect, test } from "vitest"
import { createKeyLooks } from "./looks.ts"

const ring = (refresh: () => Promise<void>) => ({ refresh }) as OpenedKeyRing
const fails = (): Promise<void> => Promise.reject(new Error("EIO"))

test("a directory that never answers is waited for with a bound, and keeps its last state", async () => {
  let looked = 0
  const stuck = ring(() => new Promise<void>(() => void looked++))
  const good = ring(async () => void looked++)
  const looks = createKeyLooks(50)
  for (const round of [1, 2]) {
    expect(await looks([["stuck", stuck] as const, ["good", good] as const])).toHaveLength(2)
    expect(looked).toBe(2 * round)
  }
})

test("a directory that can't be read is left out until it can", async () => {
  let refresh = fails
  const one = ring(() => refresh())
  const looks = createKeyLooks()
  expect(await looks([["one", one]])).toEqual([])
  refresh = async () => {}
  expect(await looks([["one", one]])).toEqual([["one", one]])
})
