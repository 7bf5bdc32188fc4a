/** Prometheus's own opinion of the rules: that they are valid, and what they do. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { dump } from "js-yaml"
import { afterAll, beforeAll, expect, test } from "vitest"
import { rulesOf } from "../documents/rules.ts"
import type { Timeline } from "./case.ts"
import { promtool } from "./promtool.ts"
import { ALL_CASES, TIMELINES, unitTests } from "./unit.ts"

const RULES = resolve(import.meta.dirname, "../../observability/prometheus/rules/unseal.yml")

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-alerts-"))
})
afterAll(() => rm(directory, { recursive: true }))

/** All rules as they are shipped, or the groups that a timeline is about: a week of all of them takes long. */
async function rulesFor({ name, cases }: Timeline): Promise<string> {
  if (name === "limits") return RULES
  const alerts = new Set(cases.flatMap((each) => [each, ...(each.also ?? [])]).map(({ alert }) => alert))
  const groups = rulesOf().filter(({ rules }) =>
    rules.some((rule) => "alert" in rule && alerts.has(rule.alert)),
  )
  const file = join(directory, `${Math.random()}.yml`)
  await writeFile(file, dump({ groups }, { lineWidth: -1, noRefs: true }))
  return file
}

async function runUnitTests(content: ReturnType<typeof unitTests>) {
  const file = join(directory, `${Math.random()}.yml`)
  await writeFile(file, dump(content, { lineWidth: -1, noRefs: true }))
  return promtool("test", "rules", file)
}

test("promtool accepts the rules", async () => {
  expect(await promtool("check", "rules", RULES)).toEqual({
    ok: true,
    said: expect.stringContaining("SUCCESS"),
  })
})

test("promtool understands every query in the runbook", async () => {
  const runbook = await readFile(resolve(import.meta.dirname, "../../docs/runbook.md"), "utf8")
  const queries = [...runbook.matchAll(/`([^`\n]*\bunseal[_:][^`\n]*)`/g)].map(([, query]) => query!)
  expect(queries.length).toBeGreaterThan(20)
  const rules = queries.map((expr, index) => ({ record: `runbook:query_${index}`, expr }))
  const file = join(directory, "runbook.yml")
  await writeFile(file, dump({ groups: [{ name: "runbook", rules }] }))
  const { ok, said } = await promtool("check", "rules", file)
  expect(ok, said).toBe(true)
})

test.each(TIMELINES)(
  "each alert is silent when all is well and just below its limit, fires beyond it with its numbers, and resolves: $name",
  async (timeline) => {
    const { ok, said } = await runUnitTests(unitTests(timeline, await rulesFor(timeline)))
    expect(ok, said.slice(0, 8_000)).toBe(true)
  },
)

test("where nothing was ever scraped, there is neither ingest nor worker", async () => {
  const file = unitTests({ name: "nothing", step: 1, phases: [1, 1, 10, 1], cases: [] }, RULES)
  const absent = ["Ingest", "Workers"].map((who) => ({
    labels: `ALERTS{alertname="Unseal${who}Absent",alertstate="firing",severity="critical",owner="deployment"}`,
    value: 1,
  }))
  const [nothing] = file.tests
  const promql_expr_test = [{ expr: 'ALERTS{alertstate="firing"}', eval_time: "9m", exp_samples: absent }]
  const tests = [{ ...nothing!, input_series: [], alert_rule_test: [], promql_expr_test }]
  const { ok, said } = await runUnitTests({ ...file, tests })
  expect(ok, said).toBe(true)
})

test("a test that expects something else fails", async () => {
  const timeline = TIMELINES.find(({ name }) => name === "what was minutes ago")!
  const [first, ...others] = timeline.cases
  const wrong = { ...timeline, cases: [{ ...first!, description: "something else" }, ...others] }
  const rules = await rulesFor(timeline)
  expect((await runUnitTests(unitTests(wrong, rules))).ok).toBe(false)
  const quiet = { ...timeline, cases: others }
  const content = unitTests(timeline, rules)
  const silent = unitTests(quiet, rules)
  content.tests[0]!.promql_expr_test = silent.tests[0]!.promql_expr_test
  expect((await runUnitTests(content)).ok).toBe(false)
})

test("each rule has a case", () => {
  const rules = rulesOf().flatMap((group) => group.rules.flatMap((rule) => ("alert" in rule ? [rule] : [])))
  const key = (alert: string, severity: string, owner: string, more: Readonly<Record<string, string>>) =>
    [alert, severity, owner, more.window ?? more.limit ?? more.peer ?? ""].join(" ")
  const tested = new Set(
    ALL_CASES.flatMap((each) => [each, ...(each.also ?? [])]).map((each) =>
      key(each.alert, each.severity, each.owner, each.labels),
    ),
  )
  const untested = rules
    .map(({ alert, labels }) => key(alert, labels.severity!, labels.owner!, labels))
    .filter((rule) => !tested.has(rule))
  expect(untested).toEqual([])
})
