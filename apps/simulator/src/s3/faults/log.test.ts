import { describe, expect, it } from "vitest"
import { type Operation, OperationLog } from "./log.ts"

const operation = (key: string): Operation => ({
  at: 0,
  operation: "GetObject",
  bucket: "b",
  key,
  status: 200,
  bytesIn: 0,
  bytesOut: 0,
})

describe("the operation log", () => {
  it("keeps the latest requests in order", () => {
    const log = new OperationLog(3)
    for (let i = 0; i < 10; i++) {
      log.begin(operation(`${i}`))
      expect(log.entries().map((entry) => entry.key)).toEqual(
        [i - 2, i - 1, i].filter((n) => n >= 0).map(String),
      )
    }
  })

  it("counts by operation and filter until it is cleared", () => {
    const log = new OperationLog(10)
    log.begin(operation("a"))
    log.begin({ ...operation("b"), operation: "PutObject" })
    expect(log.count("*")).toBe(2)
    expect(log.count("PutObject")).toBe(1)
    expect(log.count("GetObject", (entry) => entry.key === "b")).toBe(0)
    log.clear()
    expect(log.count("*")).toBe(0)
  })

  it("notifies its listeners of requests that end, until they unsubscribe", () => {
    const log = new OperationLog(10)
    const seen: string[] = []
    const unsubscribe = log.subscribe((entry) => seen.push(entry.key))
    log.begin(operation("a"))
    log.end(operation("a"))
    unsubscribe()
    log.end(operation("b"))
    expect(seen).toEqual(["a"])
  })
})
