/** Shows pages to visitors. */
import type { Response } from "express"
import type { Visitor } from "./access/visitor.ts"
import type { Origin } from "./guard.ts"
import { documentOf, type Page } from "./pages/layout.ts"
import type { QueueView } from "./queue-view.ts"

/** What is known of a request once it has passed the guards. */
export interface Locals {
  origin?: Origin
  visitor?: Visitor
}

// biome-ignore lint/suspicious/noExplicitAny: Express's own bounds for the parts that routes don't read.
export type PageResponse = Response<any, any>

export interface Shower {
  show(response: PageResponse, page: Page, status?: number): Promise<void>
  /** Only behind the check of visitors. */
  visitorOf(response: PageResponse): Visitor
}

export function createShower(view: QueueView, hasBoard: boolean): Shower {
  const localsOf = (response: PageResponse) => response.locals as Locals
  return {
    async show(response, page, status = 200) {
      const { visitor = null } = localsOf(response)
      // A page that says what is wrong with Redis is shown without it as well.
      const overview = visitor === null ? null : await view.overview().catch(() => null)
      response
        .status(status)
        .type("html")
        .send(documentOf(page, { queue: view.queue, visitor, overview, hasBoard }))
    },
    visitorOf: (response) => localsOf(response).visitor!,
  }
}
