import { createGauge, type Registry, sharedByOneScrape } from "@unseal/service/metrics"
import type { Projects, WorkerProject } from "@unseal/service/projects/projects"
import type { ProjectResources } from "../run/project-resources.ts"

/**
 * The open keys at each scrape: when the certificates beside them expire, and which files hold unusable keys. There is no series
 * for a project whose keys this worker has not needed yet, nor for a key without a certificate beside it: the vendor has the
 * certificate, and the worker does not need it.
 */
export function createKeyMetrics(
  registry: Registry,
  projects: Pick<Projects<WorkerProject>, "ids">,
  resources: Pick<ProjectResources, "keys">,
  now: () => number = Date.now,
): void {
  let keyIds: readonly string[] = []
  const open = sharedByOneScrape(() => resources.keys())
  createGauge(registry, {
    name: "unseal_certificate_expiry_seconds",
    help: "Time until the certificate of an open key expires; negative afterwards, while archives under it are still decrypted",
    labels: { key_id: () => keyIds },
    overReplicas: "min",
    overProjects: "min",
    async collect(set) {
      // A renewed certificate has the same key, so the later date counts.
      const expiries = new Map<string, number>()
      for (const { keyRing } of await open())
        for (const { keyId, notAfter } of keyRing.certificates())
          expiries.set(keyId, Math.max(expiries.get(keyId) ?? Number.NEGATIVE_INFINITY, notAfter.getTime()))
      keyIds = [...expiries.keys()]
      // Where there are too many keys, those that expire first are named.
      for (const [key_id, expiry] of [...expiries].toSorted(([, a], [, b]) => a - b))
        set({ key_id }, (expiry - now()) / 1_000)
    },
  })
  createGauge(registry, {
    name: "unseal_key_files_unusable",
    help: "Files in the project's key directory that hold no usable key, once this worker has opened the directory; if a file was usable before, its old key stays in use",
    labels: { project: () => projects.ids },
    overReplicas: "max",
    async collect(set) {
      for (const { projectIds, keyRing } of await open())
        for (const project of projectIds) set({ project }, keyRing.problems().length)
    },
  })
}
