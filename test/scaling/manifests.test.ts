/** The simulated day, KEDA and the plain HPA have the same parameters. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { load } from "js-yaml"
import { expect, it } from "vitest"
import { readParameters } from "./parameters.ts"
import { parametersSection } from "./report.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const read = (file: string) => readFileSync(resolve(ROOT, file), "utf8")
// biome-ignore lint/suspicious/noExplicitAny: their types are checked by test/kubernetes
const manifest = (name: string): any => load(read(`k8s/components/${name}`))

it("the run on docs/scaling.md had the parameters of k8s/components/keda", () => {
  expect(read("docs/scaling.md"), "run: npm run test:scaling -- --write").toContain(parametersSection())
})

it("the HPA has KEDA's limits and behavior, and its adapter KEDA's queries with the same thresholds", () => {
  const { spec: keda } = manifest("keda/scaled-object.yaml")
  const { spec: hpa } = manifest("hpa/horizontal-pod-autoscaler.yaml")
  const { rules } = manifest("hpa/adapter-rules.yaml")
  expect(hpa.minReplicas).toBe(keda.minReplicaCount)
  expect(hpa.maxReplicas).toBe(keda.maxReplicaCount)
  expect(hpa.behavior).toEqual(keda.advanced.horizontalPodAutoscalerConfig.behavior)
  expect(hpa.scaleTargetRef.name).toBe(keda.scaleTargetRef.name)

  const { target, metricType } = keda.advanced.scalingModifiers
  const queries = new Map(
    rules.external.map((rule: { name: { as: string }; metricsQuery: string }) => [
      rule.name.as,
      rule.metricsQuery,
    ]),
  )
  // An HPA takes the largest of its metrics, as KEDA's formula does.
  const asked = hpa.metrics.map(({ external }: { external: HpaMetric }) => external)
  expect(asked.map(({ metric }: HpaMetric) => queries.get(metric.name)).toSorted()).toEqual(
    Object.values(readParameters().queries).toSorted(),
  )
  for (const { target: its } of asked) expect(its).toEqual({ type: metricType, averageValue: target })
  for (const { metadata } of keda.triggers) expect(metadata.threshold).toBe(target)
})

interface HpaMetric {
  readonly metric: { readonly name: string }
  readonly target: { readonly type: string; readonly averageValue: string }
}
