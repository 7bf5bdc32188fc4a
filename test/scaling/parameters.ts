/** The parameters of k8s/components/keda, for a simulation whose day runs faster. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { load } from "js-yaml"
import type { AutoscalerOptions } from "./autoscaler.ts"

const FILE = resolve(import.meta.dirname, "../../k8s/components/keda/scaled-object.yaml")

/** One second, or one byte, of the simulation stands for this many. */
export interface Scale {
  readonly time: number
  readonly bytes: number
}

export interface Parameters {
  /** In seconds of the day, whatever the scale. */
  readonly autoscaler: AutoscalerOptions
  /** Of the two triggers: PromQL. Prometheus runs in the simulation's time. */
  readonly queries: { readonly bytes: string; readonly age: string }
  /** The larger of the two, which is the formula's result. */
  readonly formula: string
}

/** Reads the ScaledObject. With `scale`, the queries' windows and thresholds are divided by it. */
export function readParameters(scale: Scale = { time: 1, bytes: 1 }): Parameters {
  // biome-ignore lint/suspicious/noExplicitAny: its type is checked by test/kubernetes
  const { spec } = load(readFileSync(FILE, "utf8")) as any
  const { behavior } = spec.advanced.horizontalPodAutoscalerConfig
  const { formula, target, metricType } = spec.advanced.scalingModifiers
  if (formula !== "bytes > age ? bytes : age" || metricType !== "AverageValue")
    throw new Error(`${FILE} has another formula than the simulation`)
  const query = (name: string): string => {
    const { metadata } = spec.triggers.find((trigger: { name: string }) => trigger.name === name)
    return metadata.query
  }
  const minute = scale.time === 1 ? "[1m]" : `[${Math.round(60_000 / scale.time)}ms]`
  return {
    autoscaler: {
      minReplicas: spec.minReplicaCount,
      maxReplicas: spec.maxReplicaCount,
      target: Number(target),
      scaleUp: behavior.scaleUp,
      scaleDown: behavior.scaleDown,
    },
    queries: {
      bytes: replaced(
        replaced(query("bytes"), "[1m]", minute),
        "/ 30e9",
        `/ ${scale.bytes === 1 ? "30e9" : 30e9 / scale.bytes}`,
      ),
      age: replaced(replaced(query("age"), "[1m]", minute), "/ 60", `/ ${60 / scale.time}`),
    },
    formula,
  }
}

function replaced(query: string, from: string, to: string): string {
  if (!query.includes(from)) throw new Error(`${FILE}: the query lacks ${from}: ${query}`)
  return query.replaceAll(from, to)
}
