/** The pages that only show. */
import { LISTED_STATES, type ListedState } from "@unseal/queue/jobs/archive-pages"
import { FAILURES, type FailureCode } from "@unseal/queue/run/ending"
import type { Express } from "express"
import { archivePage } from "../pages/archive.ts"
import { archivesPage } from "../pages/archives.ts"
import { overviewPage } from "../pages/overview.ts"
import { searchPage, wantedBy } from "../pages/search.ts"
import type { QueueView } from "../queue-view.ts"
import { Refusal } from "../refusal.ts"
import { parameter } from "../request.ts"
import type { Shower } from "../shower.ts"

const isListedState = (text: string): text is ListedState => LISTED_STATES.some((state) => state === text)

/** A code of the table, or nothing. */
export const codeIn = (text: string | undefined): FailureCode | undefined =>
  text !== undefined && Object.hasOwn(FAILURES, text) ? (text as FailureCode) : undefined

export function addArchiveRoutes(app: Express, view: QueueView, { show, visitorOf }: Shower): void {
  app.get("/", async (_request, response) =>
    show(response, overviewPage(await view.overview(), visitorOf(response), Date.now())),
  )

  app.get("/archives/:state", async (request, response) => {
    const { state } = request.params
    if (!isListedState(state)) throw new Refusal(404, "There is no such state.", "not found")
    const query = {
      state,
      projectId: parameter(request, "project"),
      code: state === "dead" ? codeIn(parameter(request, "code")) : undefined,
      after: parameter(request, "after"),
    }
    const [page, overview] = await Promise.all([view.page(query), view.overview()])
    await show(response, archivesPage(query, page, overview, visitorOf(response), Date.now()))
  })

  app.get("/jobs/:jobId", async (request, response) => {
    const { jobId } = request.params
    const [jobs, overview] = await Promise.all([view.job(jobId), view.overview()])
    if (jobs.length === 0)
      throw new Refusal(
        404,
        "The queue does not know this job. It forgets one an hour after its commit, and at once when it is discarded or removed.",
        "not found",
      )
    await show(response, archivePage(jobs, jobId, overview, visitorOf(response), Date.now()))
  })

  app.get("/search", async (request, response) => {
    const query = parameter(request, "q") ?? ""
    const wanted = wantedBy(query)
    if (wanted.kind === "job") return response.redirect(303, `/jobs/${encodeURIComponent(wanted.jobId)}`)
    const found = wanted.kind === "archive" ? await view.search(wanted.archiveId) : null
    const [only, ...others] = found?.jobs ?? []
    if (only !== undefined && others.length === 0 && found?.isComplete)
      return response.redirect(303, `/jobs/${encodeURIComponent(only.jobId)}`)
    await show(response, searchPage(query, found, Date.now()))
  })
}
