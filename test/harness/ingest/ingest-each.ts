/** An ingest application for each test. */

import { afterEach } from "vitest"
import { startApp, type TestApp } from "./ingest-app.ts"

export let app: TestApp
afterEach(() => app.close())
export const start = async (...options: Parameters<typeof startApp>) => {
  app = await startApp(...options)
}
