import { describe, expect, it } from "vitest"
import { createCounter, createGauge, createHistogram, createRegistry } from "./metrics.ts"
import { VERSION } from "./version.ts"

describe("createRegistry", () => {
  it("has the process's metrics and the build", async () => {
    const text = await createRegistry().metrics()
    expect(text).toContain(`unseal_build_info{version="${VERSION}",node="${process.versions.node}"} 1`)
    expect(text).toContain("process_resident_memory_bytes")
  })
})

describe("closed label sets", () => {
  it("show every series from the start", async () => {
    const registry = createRegistry()
    createCounter(registry, { name: "c_total", help: "c", labels: { a: ["x", "y"], b: ["1", "2"] } })
    createHistogram(registry, { name: "h_seconds", help: "h", labels: { a: ["x"] }, buckets: [1] })
    const text = await registry.metrics()
    expect(text.match(/^c_total\{.*\} 0$/gm)).toHaveLength(4)
    expect(text).toContain('h_seconds_count{a="x"} 0')
  })

  it("count what is in no set as unknown, so that nothing from outside becomes a series", async () => {
    const registry = createRegistry()
    const counter = createCounter(registry, { name: "c_total", help: "c", labels: { a: ["x" as string] } })
    for (let i = 0; i < 100; i++) counter.increase({ a: `from outside ${i}` })
    counter.increase({ a: "x" }, 3)
    const text = await registry.metrics()
    expect(text.match(/^c_total/gm)).toHaveLength(2)
    expect(text).toContain('c_total{a="unknown"} 100')
    expect(text).toContain('c_total{a="x"} 3')
  })

  it("let a gauge be set at every scrape", async () => {
    const registry = createRegistry()
    let depth = 1
    createGauge(registry, {
      name: "g",
      help: "g",
      labels: { state: ["wait"] },
      collect: async (set) => set({ state: "wait" }, depth++),
    })
    expect(await registry.metrics()).toContain('g{state="wait"} 1')
    expect(await registry.metrics()).toContain('g{state="wait"} 2')
  })

  it("work without labels", async () => {
    const registry = createRegistry()
    const gauge = createGauge(registry, { name: "g", help: "g", labels: {} })
    gauge.set({}, 4)
    expect(await registry.metrics()).toMatch(/^g 4$/m)
  })
})
