import type { RedisClient } from "./client.ts"

/** A length, a cardinality, or a field of a hash. */
export type Reading =
  | readonly [command: "llen" | "zcard", key: string]
  | readonly [command: "hget", key: string, field: string]

/** KEYS: one for each reading. ARGV: its command, and its field or "". */
const READ = `
local answers = {}
for i, key in ipairs(KEYS) do
  local command, field = ARGV[2 * i - 1], ARGV[2 * i]
  if field == "" then answers[i] = redis.call(command, key)
  else answers[i] = redis.call(command, key, field) or "0" end
end
return answers`

/**
 * The numbers that `readings` name, all at the same moment; 0 for what is missing. As a script and not as a transaction: a Redis
 * that is full refuses every command within MULTI, and that is when somebody wants to see the queue.
 */
export async function readTogether(connection: RedisClient, readings: readonly Reading[]): Promise<number[]> {
  const keys = readings.map(([, key]) => key)
  const given = readings.flatMap(([command, , field = ""]) => [command, field])
  const answers = (await connection.eval(READ, keys.length, ...keys, ...given)) as (number | string)[]
  return answers.map(Number)
}
