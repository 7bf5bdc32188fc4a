/** Reads Redis's lists and sorted sets of job ids a page at a time, from where the last page ended. */
import type { RedisClient } from "../redis/client.ts"

/** A job's place in a line. */
export interface Place {
  readonly id: string
  /** In a sorted set, the score; in a list, the number of jobs that are taken before it. */
  readonly at: number
}

export type Direction = "first-to-last" | "last-to-first"

/**
 * KEYS: a list or a sorted set. ARGV: the last place's id or "", its `at`, the most places, 1 for last to first. Returns ids and
 * places in turn. In a sorted set, a job that has left it meanwhile is searched for where it would be: by its score and then its
 * id, as Redis orders them. So a page of a sorted set takes about the same time however long the set is, and however many jobs
 * share a score. In a list, Redis looks for the last job from one end on (LPOS), so a page takes longer the further in it begins.
 */
const PAGE = `
local line, id, at, most, backwards = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == "1"
local type = redis.call("TYPE", line).ok
local found = {}
if type == "list" then
  -- Jobs are pushed on the left and taken from the right.
  local length = redis.call("LLEN", line)
  local from = 0
  if id ~= "" then
    local index = redis.call("LPOS", line, id, "RANK", -1)
    from = index and length - index or at
  end
  if from >= length then return found end
  local some = redis.call("LRANGE", line, math.max(length - from - most, 0), length - from - 1)
  for i = #some, 1, -1 do
    table.insert(found, some[i])
    table.insert(found, tostring(from + #some - i))
  end
elseif type == "zset" then
  local range = backwards and "ZREVRANGE" or "ZRANGE"
  local from = 0
  if id ~= "" then
    local score = redis.call("ZSCORE", line, id)
    if score and tonumber(score) == at then
      from = redis.call(backwards and "ZREVRANK" or "ZRANK", line, id) + 1
    else
      local exactly = ARGV[2]
      from = backwards and redis.call("ZCOUNT", line, "(" .. exactly, "+inf") or redis.call("ZCOUNT", line, "-inf", "(" .. exactly)
      local to = from + redis.call("ZCOUNT", line, exactly, exactly)
      while from < to do
        local middle = math.floor((from + to) / 2)
        local other = redis.call(range, line, middle, middle)[1]
        local isBefore
        if backwards then isBefore = other >= id else isBefore = other <= id end
        if isBefore then from = middle + 1 else to = middle end
      end
    end
  end
  found = redis.call(range, line, from, from + most - 1, "WITHSCORES")
end
return found`

const COMMAND = "unsealPageOfLine"

/** Up to `most` places of the line `key` after `last`, or from its beginning. Empty at its end, or if there is no such line. */
export async function pageOfLine(
  connection: RedisClient,
  key: string,
  last: Place | undefined,
  most: number,
  direction: Direction = "first-to-last",
): Promise<Place[]> {
  if (!(COMMAND in connection)) connection.defineCommand(COMMAND, { numberOfKeys: 1, lua: PAGE })
  const given = [last?.id ?? "", String(last?.at ?? 0), most, direction === "last-to-first" ? 1 : 0]
  const answer: string[] = await Reflect.get(connection, COMMAND).call(connection, key, ...given)
  return Array.from({ length: answer.length / 2 }, (_, index) => ({
    id: answer[2 * index]!,
    at: Number(answer[2 * index + 1]),
  }))
}
