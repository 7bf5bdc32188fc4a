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

  it("count an unlisted value as unknown, so that outside input makes no series", async () => {
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
      overReplicas: "sum",
      collect: async (set) => set({ state: "wait" }, depth++),
    })
    expect(await registry.metrics()).toContain('g{state="wait"} 1')
    expect(await registry.metrics()).toContain('g{state="wait"} 2')
  })

  it("may change while the process runs: new values begin at 0, and are counted from then on", async () => {
    const registry = createRegistry()
    let projects = ["1"]
    const labels = { project: () => projects, outcome: ["x", "y"] }
    const counter = createCounter(registry, { name: "c_total", help: "c", labels })
    counter.increase({ project: "2", outcome: "x" })
    const before = await registry.metrics()
    expect(before).toContain('c_total{project="unknown",outcome="x"} 1')
    expect(before).not.toContain('project="2"')
    projects = ["1", "2"]
    expect(await registry.metrics()).toContain('c_total{project="2",outcome="y"} 0')
    counter.increase({ project: "2", outcome: "x" }, 2)
    counter.increase({ project: "1", outcome: "x" }, 5)
    const after = await registry.metrics()
    expect(after).toContain('c_total{project="2",outcome="x"} 2')
    expect(after).toContain('c_total{project="1",outcome="x"} 5')
    expect(after).toContain('c_total{project="unknown",outcome="x"} 1')
  })

  it("leave out impossible combinations, also when series are counted", async () => {
    const registry = createRegistry()
    const values = Array.from({ length: 100 }, (_, index) => String(index))
    const labels = { a: values, b: values }
    createCounter(registry, { name: "c_total", help: "c", labels, possible: ({ a, b }) => a === b })
    expect((await registry.metrics()).match(/^c_total\{.*\} 0$/gm)).toHaveLength(100)
  })

  it("begin with their first event if there are thousands of series, which keeps a scrape small", async () => {
    const registry = createRegistry()
    const projects = Array.from({ length: 5_000 }, (_, index) => String(100_000 + index))
    let judged = 0
    const counter = createCounter(registry, {
      ...{ name: "c_total", help: "c", labels: { project: () => projects, outcome: ["x", "y", "z"] } },
      possible: () => ++judged > 0,
    })
    const before = await registry.metrics()
    expect(before).not.toContain("c_total{")
    expect(judged).toBeLessThan(1_000)
    for (const project of projects.slice(0, 1_000)) counter.increase({ project, outcome: "x" })
    const after = await registry.metrics()
    expect(after.match(/^c_total\{/gm)).toHaveLength(1_000)
    expect(after.length - before.length).toBeLessThan(100_000)
  })

  it("let a gauge forget removed values", async () => {
    const registry = createRegistry()
    let keys = ["a", "b"]
    createGauge(registry, {
      name: "g",
      help: "g",
      labels: { key: () => keys },
      overReplicas: "sum",
      collect: (set) => keys.forEach((key, index) => void set({ key }, index)),
    })
    expect(await registry.metrics()).toContain('g{key="b"} 1')
    keys = ["b"]
    const text = await registry.metrics()
    expect(text).toContain('g{key="b"} 0')
    expect(text).not.toContain('key="a"')
  })

  it("are bounded: what comes after a metric's last series counts as other, and nothing is lost", async () => {
    const registry = createRegistry()
    const projects = Array.from({ length: 5_000 }, (_, index) => String(100_000 + index))
    const labels = { project: () => projects, outcome: ["x", "y"] }
    const counter = createCounter(registry, { name: "c_total", help: "c", labels })
    for (const project of projects) counter.increase({ project, outcome: "x" }, 2)
    createGauge(registry, {
      ...{
        name: "g",
        help: "g",
        labels: { project: () => projects },
        overReplicas: "max",
        overProjects: "max",
      },
      collect: (set) => projects.forEach((project, index) => void set({ project }, index)),
    })
    for (const scrape of [await registry.metrics(), await registry.metrics()]) {
      expect(scrape.match(/^c_total\{/gm)).toHaveLength(2_001)
      expect(scrape).toContain('c_total{project="other",outcome="x"} 6000')
      expect(scrape.match(/^g\{/gm)).toHaveLength(751)
      expect(scrape).toContain('g{project="other"} 4999')
    }
  })

  it("have no label project where it is dropped: counters add up, gauges combine as they say", async () => {
    const registry = createRegistry({ projectLabel: false })
    const projects = ["1", "2", "3"]
    const labels = { project: () => projects, outcome: ["x", "y", "z"] }
    const possible = ({ project, outcome }: { project: string; outcome: string }) =>
      outcome === "x" ? project !== "unknown" : outcome === "y" && project === "unknown"
    const counter = createCounter(registry, { name: "c_total", help: "c", labels, possible })
    const shown = async (name: string) =>
      (await registry.metrics())
        .split("\n")
        .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    expect(await shown("c_total")).toEqual(['c_total{outcome="x"} 0', 'c_total{outcome="y"} 0'])
    for (const project of [...projects, "from outside"]) counter.increase({ project, outcome: "x" })
    expect(await shown("c_total")).toEqual(['c_total{outcome="x"} 4', 'c_total{outcome="y"} 0'])
    for (const [name, overProjects] of [
      ["a", "sum"],
      ["b", "max"],
      ["d", "min"],
    ] as const)
      createGauge(registry, {
        ...{ name, help: "g", labels: { project: () => projects }, overReplicas: "max", overProjects },
        collect: (set) => projects.forEach((project) => void set({ project }, Number(project))),
      })
    expect([await shown("a"), await shown("b"), await shown("d")]).toEqual([["a 6"], ["b 3"], ["d 1"]])
  })

  it("are absent from a gauge that knows nothing at a scrape", async () => {
    const registry = createRegistry()
    let isKnown = true
    for (const [name, labels] of [
      ["g", {}],
      ["h", { state: ["wait"] }],
    ] as const)
      createGauge(registry, {
        ...{ name, help: "g", labels: labels as Record<string, readonly string[]>, overReplicas: "max" },
        collect: (set) => void (isKnown && set(name === "g" ? {} : { state: "wait" }, 7)),
      })
    const shown = async () => (await registry.metrics()).split("\n").filter((line) => /^[gh]\b/.test(line))
    expect(await shown()).toEqual(["g 7", 'h{state="wait"} 7'])
    isKnown = false
    expect(await shown()).toEqual([])
  })

  it("work without labels", async () => {
    const registry = createRegistry()
    const gauge = createGauge(registry, { name: "g", help: "g", labels: {}, overReplicas: "sum" })
    gauge.set({}, 4)
    expect(await registry.metrics()).toMatch(/^g 4$/m)
  })
})
