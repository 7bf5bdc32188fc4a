/** Lives through a part of the day: records archives, asks Prometheus as KEDA does, and resizes as the autoscaler does. */
import { setTimeout as sleep } from "node:timers/promises"
import { readAccounts } from "@unseal/queue/accounting"
import type { Redis } from "ioredis"
import type { Prometheus } from "../harness/prometheus.ts"
import type { System } from "../harness/system.ts"
import { createAutoscaler } from "./autoscaler.ts"
import { recordedUntil } from "./day.ts"
import type { Parameters } from "./parameters.ts"
import { type Sample, clock as timeOfDay } from "./picture.ts"
import type { Replicas } from "./replicas.ts"
import type { Simulation } from "./simulation.ts"

/** Of the day: the HPA's period, and how far samples lie apart. */
const SYNC_SECONDS = 15
const SAMPLE_SECONDS = 60
/** Of the day: how long the rest may take after the last archive was recorded. */
const REST_SECONDS = 7_200
/** The vendor may be this long without an answer. Then the run has failed. */
const VENDOR_MS = 30_000

const AGE = "max(unseal_queue_oldest_seconds)"
const BACKLOG = 'sum(max by (state) (unseal_queue_backlog_bytes{state=~"waiting|active"}))'

export interface LiveOptions {
  readonly simulation: Simulation
  readonly parameters: Parameters
  readonly hours: { readonly from: number; readonly to: number }
  readonly system: Pick<System, "record">
  readonly prometheus: Prometheus
  readonly redis: Redis
  readonly queue: string
  readonly replicas: Replicas
  readonly signal: AbortSignal
  readonly log: (text: string) => void
  readonly clock?: Clock
}

/** Milliseconds of the simulation. */
export interface Clock {
  now(): number
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

const REAL: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
}

/** Resolves when everything that was recorded is done, or has had its time. Rejects at the first trouble, and with `signal`. */
export async function live(options: LiveOptions): Promise<{ samples: Sample[]; recorded: number }> {
  const { simulation, parameters, hours, system, prometheus, redis, queue, replicas, signal, log } = options
  const clock = options.clock ?? REAL
  const { scale, archiveBytes, archivesInOne } = simulation
  const autoscaler = createAutoscaler(parameters.autoscaler)
  // The autoscaler keeps the number of workers if it gets no answer.
  const ask = (query: string) => prometheus.query(query).catch(() => null)
  const samples: Sample[] = []
  const startedAt = clock.now()
  let [recorded, nextSync, nextSample, wanted] = [0, 0, 0, replicas.count()]
  let vendorAnsweredAt = startedAt

  for (;;) {
    signal.throwIfAborted()
    const trouble = replicas.trouble()
    if (trouble !== undefined) throw trouble
    const seconds = ((clock.now() - startedAt) / 1_000) * scale.time
    const hour = Math.min(hours.from + seconds / 3_600, hours.to)
    const due = Math.floor((recordedUntil(hour) - recordedUntil(hours.from)) / archivesInOne) - recorded
    if (due > 0) {
      const failure = await system.record({ size: archiveBytes, exact: true, count: due }).then(
        () => null,
        (error: Error) => error,
      )
      if (failure === null) [recorded, vendorAnsweredAt] = [recorded + due, clock.now()]
      else if (clock.now() > vendorAnsweredAt + VENDOR_MS) throw failure
    } else vendorAnsweredAt = clock.now()

    if (seconds >= nextSync) {
      nextSync = seconds + SYNC_SECONDS
      const [bytes, age] = await Promise.all([ask(parameters.queries.bytes), ask(parameters.queries.age)])
      const metric = bytes === null || age === null ? null : Math.max(bytes, age)
      // As Kubernetes does, from the wanted number, and not from the workers that have started or are still ending.
      wanted = autoscaler.decide(wanted, metric, seconds)
      replicas.resize(wanted)
    }
    if (seconds >= nextSample) {
      const [backlog, age] = await Promise.all([ask(BACKLOG), ask(AGE)])
      if (backlog !== null && age !== null) {
        nextSample = seconds + SAMPLE_SECONDS
        const sample = {
          hour: hours.from + seconds / 3_600,
          ...{ replicas: replicas.running.length, wanted },
          ...{ backlogBytes: backlog * scale.bytes, ageSeconds: age * scale.time },
        }
        samples.push(sample)
        if (samples.length % 5 === 1) log(described(sample))
      }
    }
    if (hour === hours.to) {
      const { live, accepted } = await readAccounts(redis, queue)
      const isDone = live === 0 && accepted === recorded
      const isScaledIn = replicas.count() === parameters.autoscaler.minReplicas
      if (isDone && isScaledIn) break
      if (seconds > (hours.to - hours.from) * 3_600 + REST_SECONDS) break
    }
    await clock.sleep(20, signal)
  }
  return { samples, recorded }
}

const described = ({ hour, replicas, wanted, backlogBytes, ageSeconds }: Sample): string =>
  `${timeOfDay(hour)}  ${replicas} of ${wanted} workers, ${(backlogBytes / 1e9).toFixed(0)} GB, oldest ${ageSeconds.toFixed(0)} s`
