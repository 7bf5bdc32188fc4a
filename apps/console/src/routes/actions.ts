/** The pages that ask before something is done, and the forms that do it. */
import { SIDES } from "@unseal/queue/suspension/state"
import type { Express, Request } from "express"
import type { Actions } from "../actions.ts"
import {
  actionPage,
  actionsPage,
  choiceText,
  type RedriveQuery,
  redrivePage,
  resumePage,
} from "../pages/actions.ts"
import { counted } from "../pages/words.ts"
import type { QueueView } from "../queue-view.ts"
import { Refusal } from "../refusal.ts"
import { field, parameter } from "../request.ts"
import type { PageResponse, Shower } from "../shower.ts"
import { codeIn } from "./archives.ts"

export function addActionRoutes(
  app: Express,
  view: QueueView,
  actions: Actions,
  { show, visitorOf }: Shower,
): void {
  const startedAt = new Date().toISOString()

  function requireOperator(response: PageResponse): string {
    const { mayAct, name, role } = visitorOf(response)
    if (mayAct) return name
    throw new Refusal(
      403,
      role === "operator"
        ? "Actions are switched off here: UNSEAL_CONSOLE_WRITE=1 permits them."
        : "You may look but not act: to act, you need the role operator.",
      "not permitted",
    )
  }

  app.get("/redrive", async (request, response) => {
    requireOperator(response)
    const query = redriveQuery(request, parameter)
    const at = new Date()
    const { code, projectId, jobId } = query
    const found = await actions.count({ code, projectId, ids: jobId === undefined ? undefined : [jobId] })
    await show(response, redrivePage(query, { ...found, at: at.toISOString() }, visitorOf(response)))
  })

  app.post("/redrive", async (request, response) => {
    const who = requireOperator(response)
    const query = redriveQuery(request, field)
    const before = Date.parse(field(request, "before") ?? "")
    if (!(before <= Date.now()))
      throw new Refusal(400, "The form is damaged. Begin again at the dead letters.", "malformed")
    const { code, projectId, jobId } = query
    const count = Math.min(Number.parseInt(field(request, "count") ?? "", 10) || 0, 10_000_000)
    const action = actions.redrive(
      who,
      `Redrive ${counted(count, "dead letter")} ${choiceText(query)}`,
      // Those that were given up after they were counted are not meant.
      { code, projectId, ids: jobId === undefined ? undefined : [jobId], olderThanMs: Date.now() - before },
      count,
    )
    if (action === null)
      throw new Refusal(
        409,
        "Another redrive is still running: see Actions. Wait until it has ended.",
        "another redrive runs",
      )
    response.redirect(303, `/actions/${action.id}`)
  })

  app.get("/resume", async (request, response) => {
    requireOperator(response)
    const query = resumeQuery(request, parameter)
    const { suspensions, pause } = await view.overview()
    const meant = suspensions.filter(
      ({ projectId, side }) => (query.projectId ?? projectId) === projectId && (query.side ?? side) === side,
    )
    await show(response, resumePage(query, meant, pause !== null, visitorOf(response)))
  })

  app.post("/resume", async (request, response) => {
    const who = requireOperator(response)
    const query = resumeQuery(request, field)
    const of = [query.projectId && `of project ${query.projectId}`, query.side && `for the ${query.side}`]
    const what = of.some(Boolean)
      ? `Resume what is suspended ${of.filter(Boolean).join(" ")}`
      : "Resume everything"
    const action = await actions.resume(who, what, query)
    view.outdate()
    response.redirect(303, `/actions/${action.id}`)
  })

  app.get("/actions", async (_request, response) =>
    show(response, actionsPage(actions.list(), startedAt, Date.now())),
  )

  app.get("/actions/:id", async (request, response) => {
    const action = actions.get(request.params.id)
    if (action === undefined)
      throw new Refusal(
        404,
        "This console does not know this action: it has restarted, it has done a hundred others since, or another replica did it. The log has it.",
        "not found",
      )
    await show(response, actionPage(action, Date.now()))
  })
}

type Reader = (request: Request, name: string) => string | undefined

/** Throws for an unknown code: a misspelt one must not redrive everything. */
function redriveQuery(request: Request, read: Reader): RedriveQuery {
  const given = read(request, "code")
  const code = codeIn(given)
  if (given !== code) throw new Refusal(400, "There is no such error code.", "malformed")
  return { code, projectId: read(request, "project"), jobId: read(request, "job") }
}

function resumeQuery(request: Request, read: Reader) {
  const side = read(request, "side")
  if (side !== undefined && !SIDES.some((one) => one === side))
    throw new Refusal(400, "A project has no such side.", "malformed")
  return { projectId: read(request, "project"), side }
}
