/**
 * The backfills that are under way, for the process that feeds them. The truth about a backfill is at its home, a project's
 * destination. So everything that Redis loses of this is found again.
 */
import { backfillProgressKey, backfillsKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"

/** A backfill that is under way. */
export interface RegisteredBackfill {
  readonly id: string
  /** The project whose destination is its home. */
  readonly home: string
  /** How many orders it was given. A feeder that knows fewer reads the others. */
  readonly orders: number
}

/**
 * A field of the registry that is not a backfill. It says that the homes were searched, and is lost together with the backfills.
 */
const SEARCHED = "searched"

/** KEYS: registry. ARGV: id, home, orders. Orders never become fewer. */
const REGISTER = `
local text = redis.call("HGET", KEYS[1], ARGV[1])
local orders = tonumber(ARGV[3])
if text then orders = math.max(orders, cjson.decode(text).orders) end
redis.call("HSET", KEYS[1], ARGV[1], cjson.encode({ home = ARGV[2], orders = orders }))
return orders`

/** Adds a backfill, or notes that it was given orders. */
export async function registerBackfill(
  connection: RedisClient,
  queue: string,
  { id, home, orders }: RegisteredBackfill,
): Promise<void> {
  await connection.eval(REGISTER, 1, backfillsKey(queue), id, home, orders)
}

/** Removes a backfill that has ended. */
export async function unregisterBackfill(connection: RedisClient, queue: string, id: string): Promise<void> {
  await connection.hdel(backfillsKey(queue), id)
}

/** The backfills that are under way, and whether the homes were searched since Redis was last empty. */
export async function readBackfills(
  connection: RedisClient,
  queue: string,
): Promise<{ readonly backfills: readonly RegisteredBackfill[]; readonly wereSearched: boolean }> {
  const { [SEARCHED]: searched, ...fields } = await connection.hgetall(backfillsKey(queue))
  const backfills = Object.entries(fields).map(([id, text]): RegisteredBackfill => {
    const { home, orders } = JSON.parse(text) as { home: string; orders: number }
    return { id, home, orders }
  })
  return { backfills, wereSearched: searched !== undefined }
}

/** KEYS: registry. ARGV: the field, ids. Returns 0 if one of these is not there: then Redis has just lost it. */
const NOTE_SEARCHED = `
for i = 2, #ARGV do
  if redis.call("HEXISTS", KEYS[1], ARGV[i]) == 0 then return 0 end
end
redis.call("HSET", KEYS[1], ARGV[1], "1")
return 1`

/** Notes that the backfills of all homes, which are `ids`, are in the registry; nothing if one of them is not there any more. */
export async function noteSearched(
  connection: RedisClient,
  queue: string,
  ids: readonly string[],
): Promise<void> {
  await connection.eval(NOTE_SEARCHED, 1, backfillsKey(queue), SEARCHED, ...ids)
}

/** Keeps the progress of a backfill, as JSON. */
export async function writeProgress(
  connection: RedisClient,
  queue: string,
  id: string,
  progress: object,
): Promise<void> {
  await connection.hset(backfillProgressKey(queue), id, JSON.stringify(progress))
}

/** What `writeProgress` last wrote for `id`; `null` if Redis has none. */
export async function readProgress(connection: RedisClient, queue: string, id: string): Promise<unknown> {
  const text = await connection.hget(backfillProgressKey(queue), id)
  return text === null ? null : JSON.parse(text)
}

/** Deletes the progress of a backfill. */
export async function removeProgress(connection: RedisClient, queue: string, id: string): Promise<void> {
  await connection.hdel(backfillProgressKey(queue), id)
}
