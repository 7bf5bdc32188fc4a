/**
 * The rules by which Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) turns an external metric with an `AverageValue` target
 * into replicas, as its documentation and KEP-853 describe them: tolerance, stabilization windows, policies. KEDA leaves all of
 * that to an HPA that it makes, so they are its rules, too, from 1 replica up.
 */

export interface ScalingPolicy {
  readonly type: "Percent" | "Pods"
  readonly value: number
  readonly periodSeconds: number
}

export interface ScalingRules {
  readonly stabilizationWindowSeconds: number
  readonly policies: readonly ScalingPolicy[]
  /** Default `Max`. */
  readonly selectPolicy?: "Max" | "Min"
}

export interface AutoscalerOptions {
  readonly minReplicas: number
  readonly maxReplicas: number
  /** The metric's value for one replica. */
  readonly target: number
  readonly scaleUp: ScalingRules
  readonly scaleDown: ScalingRules
}

/** The controller manager's default: no change while the metric is within a tenth of the target. */
const TOLERANCE = 0.1

export interface Autoscaler {
  /** How many replicas there should be now. `metric` is `null` if it could not be had: then nothing changes. */
  decide(current: number, metric: number | null, nowSeconds: number): number
}

export function createAutoscaler(options: AutoscalerOptions): Autoscaler {
  const { minReplicas, maxReplicas, target, scaleUp, scaleDown } = options
  let wishes: { at: number; replicas: number }[] = []
  let changes: { at: number; by: number }[] = []

  /** The replicas that were added (or, with -1, removed) since `seconds` ago. */
  const changed = (sign: 1 | -1, seconds: number, now: number): number =>
    changes
      .filter(({ at, by }) => at > now - seconds && Math.sign(by) === sign)
      .reduce((sum, { by }) => sum + Math.abs(by), 0)

  function limit(
    current: number,
    { policies, selectPolicy }: ScalingRules,
    sign: 1 | -1,
    now: number,
  ): number {
    const limits = policies.map(({ type, value, periodSeconds }) => {
      const atStart = current - changed(1, periodSeconds, now) + changed(-1, periodSeconds, now)
      if (type === "Pods") return atStart + sign * value
      return sign === 1 ? Math.ceil(atStart * (1 + value / 100)) : Math.trunc(atStart * (1 - value / 100))
    })
    return (selectPolicy === "Min") === (sign === 1) ? Math.min(...limits) : Math.max(...limits)
  }

  return {
    decide(current, metric, now) {
      if (metric === null || !Number.isFinite(metric)) return current
      const isClose = Math.abs(1 - metric / (target * current)) <= TOLERANCE
      const wish = isClose ? current : Math.ceil(metric / target)
      wishes.push({ at: now, replicas: wish })
      const longest = Math.max(scaleUp.stabilizationWindowSeconds, scaleDown.stabilizationWindowSeconds)
      wishes = wishes.filter(({ at }) => at >= now - longest)
      const within = ({ stabilizationWindowSeconds: seconds }: ScalingRules) =>
        wishes.filter(({ at }) => at >= now - seconds).map(({ replicas }) => replicas)
      const up = Math.min(wish, ...within(scaleUp))
      const down = Math.max(wish, ...within(scaleDown))
      const stable = Math.min(Math.max(current, up), down)

      let replicas = Math.min(Math.max(stable, minReplicas), maxReplicas)
      if (replicas > current)
        replicas = Math.min(replicas, Math.max(limit(current, scaleUp, 1, now), current))
      else if (replicas < current)
        replicas = Math.max(replicas, Math.min(limit(current, scaleDown, -1, now), current), minReplicas)
      if (replicas !== current) changes.push({ at: now, by: replicas - current })
      changes = changes.filter(({ at }) => at > now - 3_600)
      return replicas
    },
  }
}
