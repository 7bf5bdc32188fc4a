import { createRegistry } from "@unseal/service/metrics"
import { expect, test } from "vitest"
import { createStoreNotices } from "./store-notices.ts"

function watched() {
  const registry = createRegistry()
  const lines: [object, string][] = []
  const notices = createStoreNotices(registry, {
    warn: (fields: object, line: string) => void lines.push([fields, line]),
  } as never)
  const sampleOf = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await registry.metrics())?.[1])
  return { notices, lines, sampleOf }
}

test("a store with another clock is a gauge, and one line until it changes", async () => {
  const { notices, lines, sampleOf } = watched()
  expect(await sampleOf("unseal_clock_skew_seconds")).toBe(0)
  const notice = notices("s3://recordings?endpoint=http://store&profile=p")
  notice({ what: "clock-skew", seconds: -3600 })
  notice({ what: "clock-skew", seconds: -3600 })
  expect(await sampleOf("unseal_clock_skew_seconds")).toBe(-3600)
  expect(lines).toEqual([
    [
      { store: "s3://recordings", notice: "clock-skew" },
      "the store's clock is 3600 s behind this machine's: requests are signed by the store's; correct the wrong one",
    ],
  ])
  notice({ what: "clock-skew", seconds: 1 })
  expect(lines.at(-1)?.[1]).toContain("agrees")
  expect(await sampleOf("unseal_clock_skew_seconds")).toBe(1)
})

test("a bucket in another region is a line that says what to set", () => {
  const { notices, lines } = watched()
  notices("s3://recordings")({ what: "other-region", region: "eu-central-1" })
  expect(lines[0]?.[1]).toContain("add region=eu-central-1 to the store's URL")
})

test("alternating kinds are each logged once", () => {
  const { notices, lines } = watched()
  const notice = notices("s3://decrypted")
  for (let i = 0; i < 2; i++) {
    notice({ what: "blind" })
    notice({ what: "abort-denied", permission: "s3:AbortMultipartUpload" })
  }
  expect(lines.map(([, line]) => line)).toEqual([
    expect.stringContaining("grant s3:ListBucket"),
    expect.stringContaining("grant s3:AbortMultipartUpload, or their parts stay"),
  ])
})

test("every denied look is counted, and the first one logged", async () => {
  const { notices, lines, sampleOf } = watched()
  const notice = notices("s3://recordings")
  for (let i = 0; i < 3; i++) notice({ what: "blind" })
  expect(await sampleOf("unseal_blind_looks_total")).toBe(3)
  expect(lines.map(([, line]) => line)).toEqual([expect.stringContaining("grant s3:ListBucket")])
})
