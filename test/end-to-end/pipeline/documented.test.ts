/** Compares docs/metrics.md and docs/endpoints.md with running processes: everything shown is documented, and vice versa. */
import { spawnSync } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { codeIn, compareWithDocument, exposedIn, rowsOf } from "../../documents/exposed.ts"
import { COMMON_FIELDS, LOG_EVENTS } from "../../documents/logs.ts"
import { ensureProgram } from "../../harness/programs.ts"
import { PROJECT_ID, type System, startSystem } from "../../harness/system.ts"

async function exposedBy(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
}

let system: System
let scraped: Readonly<Record<"ingest" | "worker", string>>
let promtool: string

beforeAll(async () => {
  promtool = await ensureProgram("promtool", {
    packages: {
      apt: "prometheus",
      dnf: "golang-github-prometheus",
      apk: "prometheus",
      brew: "prometheus",
    },
  })
  system = await startSystem({ store: "file", workers: 1 })
  await system.record({ size: 200_000, count: 2 })
  const [worker] = system.workers
  const committed = async () =>
    /unseal_archives_total\{.*outcome="committed".*\} 2/.test(await exposedBy(worker!.ports.admin!))
  for (const deadline = Date.now() + 120_000; !(await committed()); await sleep(200))
    if (Date.now() > deadline) throw new Error("two archives were not committed within 120 s")
  scraped = {
    ingest: await exposedBy(system.ingest.ports.admin!),
    worker: await exposedBy(worker!.ports.admin!),
  }
}, 600_000)
afterAll(() => system?.close())

describe.each(["ingest", "worker"] as const)("the metrics of a running %s", (process) => {
  const rows = rowsOf("metrics.md").filter(([, processes]) => processes!.split(", ").includes(process))
  const exposed = () => exposedIn(scraped[process])

  it("are those of the document", () => {
    const shown = [...exposed().keys()].filter((name) => name.startsWith("unseal_"))
    expect(shown.toSorted()).toEqual(rows.flatMap(([name]) => codeIn(name)).toSorted())
  })

  it("have the documented types, meanings and labels", () => {
    expect(compareWithDocument(exposed(), rows)).toBeGreaterThan(20)
  })

  it("pass promtool", async () => {
    // It exits with 3 if it has complaints.
    const checked = spawnSync(promtool, ["check", "metrics"], { input: scraped[process], encoding: "utf8" })
    expect({ status: checked.status, said: `${checked.stdout}${checked.stderr}` }).toEqual({
      status: 0,
      said: "",
    })
  })

  it("follow Prometheus' conventions, apart from Node's own", () => {
    for (const [name, { type, help }] of exposed()) {
      expect(help, name).not.toBe("")
      expect(["counter", "gauge", "histogram"], name).toContain(type)
      if (type === "counter") expect(name).toMatch(/_total$/)
      else expect(name).not.toMatch(/_(total|count|sum|bucket)$/)
      expect(name).not.toMatch(/_(ms|milliseconds|minutes|kb|mb|percent|gauge|counter|histogram)(_|$)/)
    }
  })
})

it("every line that a running process has logged is documented, with its fields", () => {
  const lines = [system.ingest, system.simulator, ...system.workers].flatMap(({ log }) => log)
  expect(lines.length).toBeGreaterThan(10)
  for (const line of lines) {
    const event = LOG_EVENTS.find(({ msg, by }) => msg === line.msg && by.some((name) => name === line.name))
    expect(event, `${line.name}: ${line.msg}`).toBeDefined()
    const undocumented = Object.keys(line).filter(
      (field) => ![...event!.fields, ...COMMON_FIELDS].includes(field),
    )
    expect(undocumented, String(line.msg)).toEqual([])
    expect(event!.level, String(line.msg)).toContain(line.level)
  }
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

  it("answer as documented to GET, HEAD, and a callback without a signature", async () => {
    expect(endpoints.length).toBeGreaterThanOrEqual(8)
    for (const { method, path, answers } of endpoints) {
      const status = await statusOf(path, method, method === "POST" ? "{}" : undefined)
      expect(answers, `${method} ${path}`).toContain(`**${status}**`)
      if (method === "GET") expect([status, await statusOf(path, "HEAD")], path).toEqual([200, 200])
    }
  })

  it("are complete in the document", async () => {
    const paths = endpoints.filter(({ path }) => path.startsWith("/callbacks")).map(({ path }) => path)
    for (const path of paths) expect(await statusOf(path, "DELETE"), path).toBe(405)
    expect(await statusOf("/", "GET")).toBe(404)
    for (const { ports } of [system.ingest, ...system.workers])
      for (const path of ["/", "/openapi.json", "/debug"])
        expect((await fetch(`http://127.0.0.1:${ports.admin}${path}`)).status, path).toBe(404)
  })

  it("have the documented outcomes of refusals", async () => {
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
