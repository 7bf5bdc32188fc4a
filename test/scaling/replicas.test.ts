import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, expect, it } from "vitest"
import type { SystemWorker } from "../harness/system.ts"
import { startLink } from "./link.ts"
import { createReplicas, type Replicas } from "./replicas.ts"

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let close = closing.pop(); close !== undefined; close = closing.pop()) await close()
})

/** Workers that run until they are stopped, or end by themselves when `end` is called. */
function fakeSystem() {
  const ends: ((code: number) => void)[] = []
  return {
    ends,
    async startWorker(): Promise<SystemWorker> {
      const { promise: exited, resolve } = Promise.withResolvers<number | null>()
      ends.push(resolve)
      const name = `worker ${ends.length}`
      const stop = async () => {
        resolve(0)
        return 0
      }
      return { name, exited, stop, stderr: () => "it broke" } as Partial<SystemWorker> as SystemWorker
    },
  }
}

function replicasOf(system: ReturnType<typeof fakeSystem>): Replicas {
  const replicas = createReplicas(system, 1_000, async () => {})
  closing.push(() => replicas.close())
  return replicas
}
const namesOf = ({ running }: Replicas) => running.map(({ name }) => name)

it("starts what is wanted, stops the youngest first, and keeps exit codes", async () => {
  const replicas = replicasOf(fakeSystem())
  replicas.resize(3)
  expect([replicas.count(), replicas.running.length]).toEqual([3, 0])
  await replicas.settled()
  expect(namesOf(replicas)).toEqual(["worker 1", "worker 2", "worker 3"])
  replicas.resize(1)
  await replicas.settled()
  expect(namesOf(replicas)).toEqual(["worker 1"])
  expect([replicas.exitCodes, replicas.trouble()]).toEqual([[0, 0], undefined])
})

it("stops a worker that is not wanted any more once it has started", async () => {
  const replicas = replicasOf(fakeSystem())
  replicas.resize(3)
  replicas.resize(1)
  await replicas.settled()
  expect([replicas.running.length, replicas.exitCodes]).toEqual([1, [0, 0]])
})

it("is in trouble if a worker ends by itself", async () => {
  const system = fakeSystem()
  const replicas = replicasOf(system)
  replicas.resize(1)
  await replicas.settled()
  system.ends[0]!(1)
  await expect.poll(() => replicas.trouble()?.message).toBe("worker 1 ended by itself, with 1:\nit broke")
})

it("a worker's transfers share the rate of its link", async () => {
  const body = Buffer.alloc(50_000)
  const store = createServer((_, response) => response.end(body))
  await new Promise<void>((resolve) => store.listen(0, "127.0.0.1", resolve))
  closing.push(async () => store.close())
  const link = await startLink(400_000)
  closing.push(() => link.close())
  const target = `http://127.0.0.1:${(store.address() as AddressInfo).port}/object`
  const read = () =>
    new Promise<number>((resolve, reject) => {
      const proxy = new URL(link.url)
      const sent = request(
        { host: proxy.hostname, port: proxy.port, path: target, agent: false },
        (answer) => {
          let bytes = 0
          answer.on("data", (chunk: Buffer) => {
            bytes += chunk.length
          })
          answer.on("end", () => resolve(bytes)).on("error", reject)
        },
      )
      sent.on("error", reject).end()
    })
  const startedAt = performance.now()
  expect(await Promise.all([read(), read()])).toEqual([body.length, body.length])
  // 100,000 bytes need a quarter of a second. Timers may fire a millisecond early.
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(240)
})
