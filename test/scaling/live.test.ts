import type { Redis } from "ioredis"
import { expect, it } from "vitest"
import type { Prometheus } from "../harness/prometheus.ts"
import { FIRST_HOUR } from "./day.ts"
import { live } from "./live.ts"
import { readParameters } from "./parameters.ts"
import type { Replicas } from "./replicas.ts"
import { simulationOf } from "./simulation.ts"

interface Resized {
  /** Seconds of the day since the first hour. */
  readonly at: number
  readonly workers: number
}

/** What the autoscaler asks for in the first `untilSeconds` of a day in which the metric is `of(seconds)`. */
async function resizes(
  speed: number,
  untilSeconds: number,
  of: (seconds: number) => number,
): Promise<Resized[]> {
  const simulation = simulationOf(speed)
  const parameters = readParameters(simulation.scale)
  const ending = new AbortController()
  let nowMs = 0
  const seconds = () => (nowMs / 1_000) * speed
  const asked: Resized[] = []
  const run = live({
    ...{ simulation, parameters, hours: { from: FIRST_HOUR, to: FIRST_HOUR + 2 }, queue: "unseal" },
    ...{ signal: ending.signal, log: () => {}, redis: {} as Redis },
    system: { record: async () => {} },
    prometheus: {
      query: async (query: string) => (query === parameters.queries.bytes ? of(seconds()) : 0),
    } as Partial<Prometheus> as Prometheus,
    replicas: {
      ...{ running: [], count: () => 1, trouble: () => undefined },
      resize(workers: number) {
        if (workers !== (asked.at(-1)?.workers ?? 1)) asked.push({ at: Math.round(seconds()), workers })
      },
    } as Partial<Replicas> as Replicas,
    clock: {
      now: () => nowMs,
      async sleep(ms) {
        nowMs += ms
        if (seconds() >= untilSeconds) ending.abort()
      },
    },
  })
  await expect(run).rejects.toThrow("aborted")
  return asked
}

it("follows the manifest's windows in the day's time, however fast the day runs", async () => {
  // 8 workers are wanted for ten minutes, and then 1.
  for (const speed of [1, 12, 60]) {
    const asked = await resizes(speed, 2_400, (seconds) => (seconds < 600 ? 8 : 0.5))
    expect(asked.map(({ workers }) => workers)).toEqual([5, 8, 4, 2, 1])
    const [fifth, eighth, ...less] = asked.map(({ at }) => at)
    expect(eighth! - fifth!).toBeGreaterThanOrEqual(60)
    expect(less[0]).toBeGreaterThanOrEqual(600 - 15 + 300)
    for (const [index, at] of less.slice(1).entries()) expect(at - less[index]!).toBeGreaterThanOrEqual(60)
  }
})
