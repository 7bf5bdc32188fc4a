import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, expect, it } from "vitest"
import {
  ACKNOWLEDGED,
  ACKNOWLEDGED_SECONDS,
  ACKNOWLEDGED_SHARE,
  IN_TIME_SECONDS,
  IN_TIME_SHARE,
  OWN_FAULT,
} from "../../observability/dashboards/objectives.ts"
import { gauge, increase, ofProcess, quantile, rate } from "../../observability/dashboards/promql.ts"
import { OBJECTIVES } from "../../observability/rules/objectives.ts"
import { type Board, readBoards, shownIn } from "./files.ts"
import { boardProblems, queryProblems } from "./problems.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const boards = readBoards()
const uids = [...boards.values()].map(({ uid }) => uid)

describe("the boards", () => {
  it("are six, each under its own uid, which is the name of its file", () => {
    expect([...boards.keys()]).toEqual([...uids.map((uid) => `${uid}.json`)])
    expect(new Set(uids).size).toBe(6)
    expect(new Set([...boards.values()].map(({ title }) => title)).size).toBe(6)
  })

  it.each([...boards])("%s asks only for what the processes show, and explains each panel", (_, board) => {
    expect(shownIn(board).length).toBeGreaterThan(5)
    expect(boardProblems(board, uids)).toEqual([])
  })

  it("lead to each other, and let the reader choose the Prometheus and the namespace", () => {
    const meanings = new Map<string, string | undefined>()
    for (const board of boards.values()) {
      expect(board.tags).toEqual(["unseal"])
      expect(board.links.map(({ type, tags }) => [type, tags])).toEqual([["dashboards", ["unseal"]]])
      const names = board.templating.list.map(({ name }) => name)
      expect(names.slice(0, 2)).toEqual(["datasource", "namespace"])
      // Links carry variables along, so a name means the same on every board.
      for (const { name, definition } of board.templating.list) {
        expect(meanings.get(name) ?? definition, name).toBe(definition)
        meanings.set(name, definition)
      }
      for (const { datasource } of shownIn(board) as unknown as { datasource: unknown }[])
        expect(datasource).toEqual({ type: "prometheus", uid: "$datasource" })
    }
  })

  it("measure the objectives that the alerts guard", () => {
    const missed = OBJECTIVES.map(({ missed }) => missed("1h"))
    expect(missed[0]).toContain(`le="${ACKNOWLEDGED_SECONDS}"`)
    expect(missed[0]).toContain(`outcome=~"${ACKNOWLEDGED.join("|")}"`)
    for (const outcome of OWN_FAULT) expect(missed[0]).toContain(outcome)
    expect(missed[1]).toContain(`le=~"${IN_TIME_SECONDS}`)
    expect([ACKNOWLEDGED_SHARE, IN_TIME_SHARE]).toEqual(OBJECTIVES.map(({ budget }) => 1 - budget))
  })

  it("name only sections of the runbook that exist", () => {
    const path = join(ROOT, "docs/runbook.md")
    const named = JSON.stringify([...boards.values()]).matchAll(/docs\/runbook\.md#([a-z]+)/g)
    const anchors = new Set([...named].map(([, anchor]) => anchor!))
    expect(anchors.size).toBeGreaterThan(10)
    const sections = [...readFileSync(path, "utf8").matchAll(/^#+ (\w+)$/gm)].map(([, name]) =>
      name!.toLowerCase(),
    )
    expect([...anchors].filter((anchor) => !sections.includes(anchor))).toEqual([])
  })
})

describe("what is wrong is found", () => {
  const board = boards.get("unseal-overview.json")!

  it.each([
    ['max(unseal_queue_depth{namespace=~"$namespace"})', "no process shows unseal_queue_depth"],
    [
      'max(unseal_queue_jobs{namespace=~"$namespace", status="waiting"})',
      "unseal_queue_jobs has no label status",
    ],
    [
      'max(unseal_queue_jobs{namespace=~"$namespace", state="stuck"})',
      'unseal_queue_jobs never has state="stuck"',
    ],
    ["max(unseal_queue_missing)", "unseal_queue_missing is not limited to the namespace"],
    [
      'max by (project) (unseal_queue_missing{namespace=~"$namespace"})',
      "groups by project, which nothing has",
    ],
    [
      'rate(unseal_callback_seconds{namespace=~"$namespace"}[1m])',
      "no process shows unseal_callback_seconds",
    ],
    ["1 + 1", "names no metric"],
  ])("%s", (expression, problem) => {
    expect(queryProblems(expression, board)).toEqual([problem])
  })

  it("an expression that does not parse", () => {
    expect(queryProblems('max(unseal_queue_missing{namespace=~"$namespace"}', board).join()).toMatch(
      /does not parse/,
    )
  })

  it("a panel without words or unit, on top of another, with a link to nowhere", () => {
    const [row, first, second, ...rest] = board.panels
    const bare = {
      ...second!,
      description: "see /d/unseal-nowhere",
      gridPos: first!.gridPos,
      fieldConfig: { ...second!.fieldConfig!, defaults: {} },
    }
    const broken: Board = { ...board, panels: [row!, first!, bare, ...rest] }
    expect(boardProblems(broken, uids)).toEqual([
      `${bare.title}: does not say what is normal and what to do otherwise`,
      `${bare.title}: has no unit`,
      `${first!.title}: lies on ${bare.title}`,
      "links to a board unseal-nowhere that does not exist",
    ])
  })

  it("a name, a label, a value or a way to combine replicas that the code does not have, when a board is written", () => {
    expect(() => gauge("unseal_queue_depth")).toThrow("no process shows a metric unseal_queue_depth")
    expect(() => gauge("unseal_queue_jobs", { labels: { status: "waiting" } })).toThrow("has no label status")
    expect(() => gauge("unseal_queue_jobs", { labels: { state: ["waiting", "stuck"] } })).toThrow('"stuck"')
    expect(() => gauge("unseal_queue_jobs", { by: ["project"] })).toThrow("has no label project")
    expect(() => gauge("unseal_clock_skew_seconds")).toThrow("can't be combined over replicas")
    expect(() => rate("unseal_queue_jobs")).toThrow("unseal_queue_jobs is a gauge, not a counter")
    expect(() => increase("unseal_callback_seconds")).toThrow("is a histogram, not a counter")
    expect(() => quantile(0.5, "unseal_callbacks_total")).toThrow("is a counter, not a histogram")
    expect(() => ofProcess("process_cpu_seconds_total", "unseal_parts_in_flight")).toThrow("is a counter")
  })

  it("a gauge that is the same everywhere is not added up", () => {
    expect(gauge("unseal_queue_missing")).toBe('max(unseal_queue_missing{namespace=~"$namespace"})')
    expect(gauge("unseal_parts_in_flight")).toBe('sum(unseal_parts_in_flight{namespace=~"$namespace"})')
    expect(gauge("unseal_certificate_expiry_seconds", { by: ["key_id"] })).toMatch(/^min by \(key_id\)/)
  })
})
