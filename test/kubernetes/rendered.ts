/** The objects of all overlays, as kubectl renders them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import type { ProcessName } from "@unseal/service/settings/table"
import { loadAll } from "js-yaml"
import { beforeAll } from "vitest"
import { K8S, type KubernetesObject, kustomize, OVERLAYS } from "./tools.ts"

/** An overlay with the plain HPA instead of KEDA, a Gateway instead of an Ingress, and access keys. */
const VARIANT = `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: unseal
resources: [BASE]
components: [COMPONENTS/hpa, COMPONENTS/gateway, COMPONENTS/access-key]
configMapGenerator:
  - name: unseal-projects
    literals: ["projects.yaml=projects: []"]
generatorOptions: { disableNameSuffixHash: true }
`

export const ALL = [...OVERLAYS, "variant"] as const

const rendered = new Map<string, KubernetesObject[]>()

/** Renders everything before the tests of a file. Call it at its top. */
export function renderFirst(): void {
  beforeAll(async () => {
    for (const overlay of OVERLAYS)
      rendered.set(overlay, loadAll(await kustomize(join(K8S, "overlays", overlay))) as KubernetesObject[])
    const folder = await mkdtemp(join(tmpdir(), "unseal-variant-"))
    const text = VARIANT.replace("BASE", relative(folder, join(K8S, "base"))).replaceAll(
      "COMPONENTS",
      relative(folder, join(K8S, "components")),
    )
    await writeFile(join(folder, "kustomization.yaml"), text)
    rendered.set("variant", loadAll(await kustomize(folder)) as KubernetesObject[])
    await rm(folder, { recursive: true })
  })
}

/** The objects of an overlay, of all kinds or of some. */
export const objectsOf = (overlay: string, ...kinds: string[]): KubernetesObject[] =>
  rendered.get(overlay)!.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind))

export const named = (overlay: string, kind: string, name: string) =>
  objectsOf(overlay, kind).find(({ metadata }) => metadata.name === name)

/** A workload's pod template; its process, if it is Unseal's own. */
export function workloadsOf(overlay: string) {
  return objectsOf(overlay, "Deployment", "CronJob", "StatefulSet").map((object) => {
    const template = (object.kind === "CronJob" ? object.spec.jobTemplate.spec : object.spec).template
    const [container] = template.spec.containers
    const command = container.args[0]
    const process: ProcessName | null = !container.image.startsWith("unseal:")
      ? null
      : command === "ingest" || command === "worker" || command === "console"
        ? command
        : "cli"
    return { object, name: object.metadata.name as string, template, container, process }
  })
}

export const ownWorkloadsOf = (overlay: string) =>
  workloadsOf(overlay).filter(({ process }) => process !== null)

export const matches = (selector: KubernetesObject, labels: KubernetesObject): boolean =>
  Object.entries(selector?.matchLabels ?? {}).every(([name, value]) => labels[name] === value) &&
  (selector?.matchExpressions ?? []).every(({ key, operator, values }: KubernetesObject) => {
    if (operator === "In") return values.includes(labels[key])
    if (operator === "NotIn") return !values.includes(labels[key])
    throw new Error(`${operator} is not checked`)
  })
