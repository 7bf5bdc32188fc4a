/** `npm run docs`: writes the documents that the code knows better. */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { DASHBOARD_FILES } from "../../observability/dashboards/documents.ts"
import { capacityDocument } from "./capacity.ts"
import { endpointsDocument } from "./endpoints.ts"
import { errorsDocument } from "./errors.ts"
import { logsDocument } from "./logs.ts"
import { metricsDocument } from "./metrics.ts"
import { projectsDocument } from "./projects.ts"
import { prometheusRule, rulesFile } from "./rules.ts"
import { runbookDocument } from "./runbook.ts"
import { envExample, settingsDocument } from "./settings.ts"
import { simulatorDocument } from "./simulator.ts"

/** The documents that are generated, as a whole or in part, by path. */
export const DOCUMENTS: Readonly<Record<string, () => string>> = {
  ".env.example": envExample,
  "docs/settings.md": settingsDocument,
  "docs/metrics.md": metricsDocument,
  "docs/logs.md": logsDocument,
  "docs/errors.md": errorsDocument,
  "docs/endpoints.md": endpointsDocument,
  "docs/simulator.md": simulatorDocument,
  "docs/projects.md": projectsDocument,
  "docs/runbook.md": runbookDocument,
  "observability/prometheus/rules/unseal.yml": rulesFile,
  "k8s/components/monitoring/prometheus-rule.yaml": prometheusRule,
  "k8s/helm/unseal/files/rules.yaml": rulesFile,
  ...DASHBOARD_FILES,
  "docs/capacity.md": capacityDocument,
}

if (import.meta.main) {
  const root = resolve(import.meta.dirname, "../..")
  for (const [path, write] of Object.entries(DOCUMENTS)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), write())
  }
}
