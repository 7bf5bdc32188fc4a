import { expect, it } from "vitest"
import { type AutoscalerOptions, createAutoscaler } from "./autoscaler.ts"

const FREE = {
  stabilizationWindowSeconds: 0,
  policies: [{ type: "Pods", value: 1_000, periodSeconds: 1 }],
} as const
const autoscaler = (options: Partial<AutoscalerOptions> = {}) =>
  createAutoscaler({ minReplicas: 1, maxReplicas: 20, target: 1, scaleUp: FREE, scaleDown: FREE, ...options })

it("rounds up, between the least and the most replicas", () => {
  const scaler = autoscaler()
  expect(scaler.decide(1, 3.2, 0)).toBe(4)
  expect(scaler.decide(4, 0, 10)).toBe(1)
  expect(scaler.decide(1, 99, 20)).toBe(20)
})

it("changes nothing within a tenth of the target, nor without a metric", () => {
  const scaler = autoscaler()
  expect(scaler.decide(10, 10.9, 0)).toBe(10)
  expect(scaler.decide(10, 9.1, 10)).toBe(10)
  expect(scaler.decide(10, 11.1, 20)).toBe(12)
  expect(scaler.decide(10, null, 30)).toBe(10)
  expect(scaler.decide(10, Number.NaN, 40)).toBe(10)
})

// The example of KEP-853: the largest wish of the window counts.
it("scales in to the largest wish of the stabilization window", () => {
  const scaler = autoscaler({ scaleDown: { ...FREE, stabilizationWindowSeconds: 600 } })
  const wishes = [10, 9, 8, 9, 9, 8, 9, 8, 9, 8]
  for (const [minute, wish] of wishes.entries()) expect(scaler.decide(10, wish * 0.999, minute * 60)).toBe(10)
  expect(scaler.decide(10, 7.5, 661)).toBe(9)
})

it("scales out by the larger policy, and counts what was added in the period", () => {
  const scaleUp = {
    stabilizationWindowSeconds: 0,
    policies: [
      { type: "Percent", value: 100, periodSeconds: 60 },
      { type: "Pods", value: 4, periodSeconds: 60 },
    ],
  } as const
  const scaler = autoscaler({ scaleUp })
  expect(scaler.decide(1, 20, 0)).toBe(5)
  expect(scaler.decide(5, 20, 15)).toBe(5)
  expect(scaler.decide(5, 20, 61)).toBe(10)
})

it("scales in by half each minute at most", () => {
  const scaleDown = {
    stabilizationWindowSeconds: 0,
    policies: [{ type: "Percent", value: 50, periodSeconds: 60 }],
  } as const
  const scaler = autoscaler({ scaleDown })
  expect(scaler.decide(9, 0, 0)).toBe(4)
  expect(scaler.decide(4, 0, 15)).toBe(4)
  expect(scaler.decide(4, 0, 61)).toBe(2)
})
