/** What a Deployment does: it keeps as many workers running as it is told to, each with a network of its own. */
import type { System, SystemWorker } from "../harness/system.ts"
import { type Link, startLink } from "./link.ts"

/** A start that takes longer has failed. Slow machines start many workers at once. */
const START_MS = 120_000

export interface Replicas {
  /** Those that listen. */
  readonly running: readonly SystemWorker[]
  /** Those that listen, and those that will. */
  count(): number
  /** Starts or stops workers. Like Kubernetes, stops the youngest first. */
  resize(wanted: number): void
  /** Exit codes of the workers that were told to stop. */
  readonly exitCodes: readonly (number | null)[]
  /** The first start that failed, or worker that ended by itself. */
  trouble(): Error | undefined
  /** Resolves when nothing starts or stops any more. */
  settled(): Promise<void>
  /** Stops all, at once. */
  close(): Promise<void>
}

interface Replica {
  readonly worker: SystemWorker
  readonly link: Link
}

/** `changed` is called with the workers that listen, whenever these change. */
export function createReplicas(
  system: Pick<System, "startWorker">,
  bytesPerSecond: number,
  changed: (running: readonly SystemWorker[]) => Promise<void>,
): Replicas {
  const replicas: Replica[] = []
  const exitCodes: (number | null)[] = []
  const underWay = new Set<Promise<void>>()
  let starting = 0
  let target = 0
  let trouble: Error | undefined
  const running = () => replicas.map(({ worker }) => worker)

  function beside(work: Promise<unknown>): void {
    const handled: Promise<void> = work.then(
      () => void underWay.delete(handled),
      (error: Error) => {
        trouble ??= error
        underWay.delete(handled)
      },
    )
    underWay.add(handled)
  }

  async function start(): Promise<void> {
    starting++
    try {
      const link = await startLink(bytesPerSecond)
      const worker = await inTime(system.startWorker(["env", `HTTP_PROXY=${link.url}`]), START_MS)
      replicas.push({ worker, link })
      void worker.exited.then((code) => {
        if (replicas.some((replica) => replica.worker === worker))
          trouble ??= new Error(`${worker.name} ended by itself, with ${code}:\n${worker.stderr()}`)
      })
    } finally {
      starting--
    }
    adjust()
    await changed(running())
  }

  async function stop({ worker, link }: Replica): Promise<void> {
    await changed(running())
    exitCodes.push(await worker.stop())
    await link.close()
  }

  function adjust(): void {
    while (replicas.length + starting < target) beside(start())
    while (replicas.length > target) beside(stop(replicas.pop()!))
  }

  return {
    get running() {
      return running()
    },
    count: () => replicas.length + starting,
    resize(wanted) {
      target = wanted
      adjust()
    },
    exitCodes,
    trouble: () => trouble,
    async settled() {
      while (underWay.size > 0) await Promise.all(underWay)
    },
    async close() {
      this.resize(0)
      await this.settled()
    },
  }
}

async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a worker did not start within ${ms / 1_000} s`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
