/**
 * The peer of ingest: what an engineer writes with Express and BullMQ in an hour. Each callback is added to the queue by `queue.add`
 * and answered 202. No signature, no schema, no deadline, no fair turns, no accounts, no log.
 *
 * usage: peer-ingest.ts REDIS_URL QUEUE; prints its port.
 */
import type { AddressInfo } from "node:net"
import { queuePrefix } from "@unseal/queue/names"
import { Queue } from "bullmq"
import express from "express"
import { Redis } from "ioredis"

const [redisUrl = "", name = ""] = process.argv.slice(2)
const queue = new Queue(name, { connection: new Redis(redisUrl), prefix: queuePrefix(name) })
const app = express()
app.disable("x-powered-by").disable("etag")
app.use(express.json({ limit: "16kb" }))
app.post("/callbacks/:projectId", async (request, response) => {
  const { id, password } = request.body as { id: string; password: string }
  const { projectId } = request.params
  const job = { projectId, archiveId: id, encryptedPassword: password }
  await queue.add("decrypt", job, { jobId: `${projectId}-${id}`, attempts: 12 })
  response.status(202).json({ status: "enqueued" })
})
const server = app.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
