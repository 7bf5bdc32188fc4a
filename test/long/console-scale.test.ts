/** The console's pages of a queue with 100,000 archives. */
import { createProducer } from "@unseal/queue/enqueue/producer"
import { queueKey } from "@unseal/queue/names"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, it } from "vitest"
import { startConsoleApp } from "../harness/console-app.ts"
import { giveDeadLetters, newPayload } from "../harness/queue.ts"
import { countCommands } from "../harness/redis/commands.ts"
import { type RedisServer, startRedis } from "../harness/redis/redis.ts"

let redis: RedisServer
let client: Redis
beforeAll(async () => {
  redis = await startRedis({ appendfsync: "no" })
  client = new Redis(redis.url)
})
afterAll(async () => {
  client?.disconnect()
  await redis?.close()
})

it("pages of 100,000 waiting archives and 1,000 dead letters take as many commands as those of few", async () => {
  const costs: Record<string, number[]> = {}
  for (const [name, waiting, dead] of [
    ["few", 200, 200],
    ["many", 100_000, 1_000],
  ] as const) {
    const producer = createProducer({
      connection: client,
      queue: name,
      deadlineMs: 600_000,
      pendingLimit: 200_000,
    })
    const projects = ["100001", "200002", "300003"]
    for (let made = 0; made < waiting; made += 5_000)
      await Promise.all(
        Array.from({ length: Math.min(5_000, waiting - made) }, (_, index) =>
          producer.enqueue(newPayload(projects[index % 3]!, { size: 1_000_000_000 })),
        ),
      )
    await producer.close()
    await giveDeadLetters({ client, name }, dead, "100001", Date.now(), "ERR_NO_MATCHING_KEY: none")
    const app = await startConsoleApp({ client, name }, { writes: true, board: true })
    const [middle] = await client.zrange(queueKey(name, "prioritized"), waiting / 2, String(waiting / 2))
    const paths = {
      ...{ overview: "/", waiting: "/archives/waiting", dead: "/archives/dead", job: `/jobs/${middle}` },
      "in the middle": `/archives/waiting?after=${encodeURIComponent(`prioritized~${await client.zscore(queueKey(name, "prioritized"), middle!)}~${middle}`)}`,
      ...{
        "of a project": "/archives/waiting?project=300003",
        "of a code": "/archives/dead?code=ERR_NO_MATCHING_KEY",
      },
      "count to redrive": "/redrive?code=ERR_NO_MATCHING_KEY",
      search: `/search?q=${middle!.split("_")[1]}`,
      board: `/board/api/queues?activeQueue=${name}&status=latest&jobsPerPage=10`,
      "the board's last page": `/board/api/queues?activeQueue=${name}&status=prioritized&page=${waiting / 100}&jobsPerPage=100`,
    }
    for (const [title, path] of Object.entries(paths)) {
      const ask = async () => {
        const answer = await app.get(path, app.as("otto"))
        await answer.text()
        expect(answer.status, title).toBeLessThan(400)
      }
      await ask()
      // Longer than a reading is shared.
      await new Promise((resolve) => setTimeout(resolve, 1_100))
      const startedAt = performance.now()
      const count = await countCommands(client, ask)
      console.log(
        `${waiting} waiting, ${dead} dead: ${title} ${(performance.now() - startedAt).toFixed(0)} ms, ${count} commands`,
      )
      costs[title] = [...(costs[title] ?? []), count]
    }
    await app.close()
  }
  for (const [title, [few, many]] of Object.entries(costs)) {
    // Dead letters are read one by one where they are counted; a search looks through the keys.
    const allowed = ["overview", "dead", "of a code", "count to redrive"].includes(title)
      ? 3_500
      : title === "search"
        ? 1_200
        : 1_000
    expect(many! - few!, title).toBeLessThan(allowed)
  }
})
