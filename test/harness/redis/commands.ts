import type { Redis } from "ioredis"

/** How many commands Redis runs during `work`, those within scripts included. Nobody else may use it meanwhile. */
export async function countCommands(client: Redis, work: () => Promise<unknown>): Promise<number> {
  await client.config("RESETSTAT")
  await work()
  const stats = await client.info("commandstats")
  const calls = [...stats.matchAll(/^cmdstat_([\w|]+):calls=(\d+)/gm)]
  return calls
    .filter(([, name]) => !name!.startsWith("config"))
    .reduce((sum, [, , count]) => sum + Number(count), 0)
}
