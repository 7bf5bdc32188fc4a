/** docs/metrics.md and docs/endpoints.md against processes that run: what they show is documented, and what is documented is there. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { PROJECT_ID, type System, startSystem } from "../harness/system.ts"

const DOCS = resolve(import.meta.dirname, "../../docs")

/** The rows of the tables in a document whose first cell is code. */
const rowsOf = (document: string): string[][] =>
  readFileSync(join(DOCS, document), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, "")))

const codeIn = (cell = ""): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text!)

interface Exposed {
  readonly type: string
  readonly help: string
  /** Of every series, without those that a histogram makes itself. */
  readonly labels: Readonly<Record<string, string>>[]
}

async function exposedBy(port: number): Promise<ReadonlyMap<string, Exposed>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const found = new Map<string, Exposed>()
  for (const [, name, help] of text.matchAll(/^# HELP (\w+) (.*)$/gm))
    found.set(name!, {
      help: help!,
      type: new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(text)?.[1] ?? "",
      labels: [],
    })
  for (const [, series, labels = ""] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const name = found.has(series!) ? series! : series!.replace(/_(bucket|sum|count)$/, "")
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key!, value!] as const)
    found.get(name)!.labels.push(Object.fromEntries(pairs.filter(([key]) => key !== "le")))
  }
  return found
}

let system: System
let exposed: Readonly<Record<"ingest" | "worker", ReadonlyMap<string, Exposed>>>

beforeAll(async () => {
  system = await startSystem({ store: "file", workers: 1 })
  await system.record({ size: 200_000, count: 2 })
  const [worker] = system.workers
  const committed = async () =>
    (await exposedBy(worker!.ports.admin!)).get("unseal_archive_seconds") !== undefined &&
    /unseal_archives_total\{.*outcome="committed".*\} 2/.test(
      await (await fetch(`http://127.0.0.1:${worker!.ports.admin}/metrics`)).text(),
    )
  for (const deadline = Date.now() + 120_000; !(await committed()); await sleep(200))
    if (Date.now() > deadline) throw new Error("two archives were not committed within 120 s")
  exposed = {
    ingest: await exposedBy(system.ingest.ports.admin!),
    worker: await exposedBy(worker!.ports.admin!),
  }
}, 180_000)
afterAll(() => system?.close())

describe.each(["ingest", "worker"] as const)("the metrics of a running %s", (process) => {
  const rows = rowsOf("metrics.md").filter(([, processes]) => processes!.split(", ").includes(process))

  it("are those of the document", () => {
    const shown = [...exposed[process].keys()].filter((name) => name.startsWith("unseal_"))
    expect(shown.toSorted()).toEqual(rows.flatMap(([name]) => codeIn(name)).toSorted())
  })

  it("have its types, meanings and labels", () => {
    let withLabels = 0
    for (const [cell, , type, , labels, , meaning] of rows) {
      const [name] = codeIn(cell)
      const metric = exposed[process].get(name!)!
      expect([metric.type, metric.help], name).toEqual([type, meaning])
      const sets = (labels === "–" ? [] : labels!.split("; ")).map((set) => {
        const [label, values] = set.split(/: (.*)/)
        return [codeIn(label)[0]!, values!] as const
      })
      for (const series of metric.labels) {
        expect(Object.keys(series).toSorted(), name).toEqual(sets.map(([label]) => label).toSorted())
        // Sets that are written out; the others are described.
        for (const [label, values] of sets)
          if (values.startsWith("`")) expect(codeIn(values), `${name}{${label}}`).toContain(series[label])
        if (sets.length > 0) withLabels++
      }
    }
    expect(withLabels).toBeGreaterThan(20)
  })

  it("keep the conventions of Prometheus, Node's own included", () => {
    for (const [name, { type, help }] of exposed[process]) {
      expect(help, name).not.toBe("")
      expect(["counter", "gauge", "histogram"], name).toContain(type)
      if (type === "counter") expect(name).toMatch(/_total$/)
      else expect(name).not.toMatch(/_(total|count|sum|bucket)$/)
      expect(name).not.toMatch(/_(ms|milliseconds|minutes|kb|mb|percent|gauge|counter|histogram)(_|$)/)
    }
  })
})

describe("the endpoints of running processes", () => {
  const endpoints = rowsOf("endpoints.md").flatMap(([cell, ...rest]) => {
    const [, method, path] = /^`(GET|POST) (\/.*)`$/.exec(cell!) ?? []
    return path === undefined ? [] : [{ method: method!, path, answers: rest.at(-1)! }]
  })
  const ADMIN = ["/healthz", "/readyz", "/metrics"]
  const urlOf = (path: string): string => {
    const { http, admin } = system.ingest.ports
    const filled = path.replace("{projectId}", PROJECT_ID).replace("{token}", "a-token-of-no-project")
    return `http://127.0.0.1:${ADMIN.includes(path) ? admin : http}${filled}`
  }
  const statusOf = async (path: string, method: string, body?: string) =>
    (
      await fetch(urlOf(path), {
        method,
        ...(body !== undefined && { body, headers: { "content-type": "application/json" } }),
      })
    ).status

  it("answer what the document lists: GET, HEAD, and a callback that nobody signed", async () => {
    expect(endpoints.length).toBeGreaterThanOrEqual(8)
    for (const { method, path, answers } of endpoints) {
      const status = await statusOf(path, method, method === "POST" ? "{}" : undefined)
      expect(answers, `${method} ${path}`).toContain(`**${status}**`)
      if (method === "GET") expect([status, await statusOf(path, "HEAD")], path).toEqual([200, 200])
    }
  })

  it("are all that there is", async () => {
    const paths = endpoints.filter(({ path }) => path.startsWith("/callbacks")).map(({ path }) => path)
    for (const path of paths) expect(await statusOf(path, "DELETE"), path).toBe(405)
    expect(await statusOf("/", "GET")).toBe(404)
    for (const { ports } of [system.ingest, ...system.workers])
      for (const path of ["/", "/openapi.json", "/debug"])
        expect((await fetch(`http://127.0.0.1:${ports.admin}${path}`)).status, path).toBe(404)
  })

  it("tell the outcomes of refusals as the document has them", async () => {
    const rows = rowsOf("endpoints.md").filter(([, answer]) => /^\d{3} /.test(answer!))
    const refused = [
      ["not-found", "/nowhere", "GET", undefined],
      ["method-not-allowed", "/callbacks/{projectId}", "DELETE", undefined],
      ["unauthenticated", "/callbacks/999", "POST", "{}"],
      ["unsigned", "/callbacks/{projectId}", "POST", "{}"],
      ["too-large", "/callbacks/{projectId}", "POST", `{"a":"${"x".repeat(17_000)}"}`],
    ] as const
    for (const [outcome, path, method, body] of refused) {
      const [, answer] = rows.find(([cell]) => codeIn(cell)[0] === outcome)!
      expect(`${await statusOf(path, method, body)}`, outcome).toBe(answer!.slice(0, 3))
    }
  })
})
