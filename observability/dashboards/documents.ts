/** The boards as files that Grafana provisions. `npm run docs` writes them. */
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard"
import { dependencies } from "./dependencies.ts"
import { ingest } from "./ingest.ts"
import { overview } from "./overview.ts"
import { project } from "./project.ts"
import { queue } from "./queue.ts"
import { worker } from "./worker.ts"

/** In the order in which one opens them. */
export const BOARDS: readonly Dashboard[] = [overview, ingest, worker, queue, dependencies, project]

/** Kustomize and Helm read nothing from outside their own folders, so each has a copy, without blanks. */
const FOLDERS = {
  "observability/grafana/dashboards": 1,
  "k8s/components/monitoring/dashboards": 0,
  "k8s/helm/unseal/files/dashboards": 0,
} as const

/** The content of each file, by its path in the repository. */
export const DASHBOARD_FILES: Readonly<Record<string, () => string>> = Object.fromEntries(
  Object.entries(FOLDERS).flatMap(([folder, indent]) =>
    BOARDS.map((board) => [`${folder}/${board.uid}.json`, () => `${JSON.stringify(board, null, indent)}\n`]),
  ),
)
