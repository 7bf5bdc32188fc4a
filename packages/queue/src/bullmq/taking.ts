import { SAYS_BULK } from "../lanes/lines.ts"
import { type LaneTurn, takingScript, turnArguments, turnKeys } from "../lanes/share.ts"
import { countersKey, unfinishedKey } from "../names.ts"
import type { BackendInside } from "./inside.ts"
import { liveAlone } from "./take-live.ts"

/** The number of KEYS of BullMQ's `moveToActive` and `moveToFinished`, and a position among the latter's, from 1. */
const TAKE_KEYS = 11
const FINISH_KEYS = 14
const JOB = 12

/**
 * BullMQ's script as a function. In the same step the job's bytes leave the backlog (backlog.ts), and the job leaves the unfinished
 * jobs (unfinished-jobs.ts). This must not fail: a job whose fields are damaged has to end as well. Its ARGV say whether it also
 * takes the next job.
 */
const finishScript = (lua: string): string => `
local function finish(KEYS, ARGV)
${takingScript(lua, FINISH_KEYS, 'ARGV[6] == "1"')}
end
${SAYS_BULK}
local job, counters, unfinished = KEYS[${JOB}], KEYS[${FINISH_KEYS + 3}], KEYS[${FINISH_KEYS + 4}]
local bytes = redis.pcall("HGET", job, "bytes")
local bulk = saysBulk(redis.pcall("HGET", job, "data"))
local answer = finish(KEYS, ARGV)
if type(answer) == "number" and answer < 0 then return answer end
for _, suffix in ipairs({ "", ":bulk" }) do redis.pcall("ZREM", unfinished .. suffix, ARGV[1]) end
if type(bytes) == "string" then
  redis.pcall("HDEL", job, "bytes")
  if tonumber(bytes) then
    redis.pcall("HINCRBY", counters, "bytes", "-" .. bytes)
    if bulk then redis.pcall("HINCRBY", counters, "bulkBytes", "-" .. bytes) end
  end
end
return answer`

const FINISH = "unsealMoveToFinished"
const TAKE = "unsealMoveToActive"

type Client = Parameters<BackendInside["execCommand"]>[0]

type Scripted = Readonly<Record<string, unknown>> & {
  readonly scriptsSet: Readonly<Record<string, { readonly lua: string }>>
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void
}

/**
 * Ends a job as BullMQ's command `moveToFinished` with `given` does, subtracts its bytes from the backlog, and takes the next job
 * in turn.
 */
export function finishAndCount(
  backend: Pick<BackendInside, "version">,
  client: Client,
  queue: string,
  given: unknown[],
  turn: LaneTurn,
): Promise<unknown> {
  const keys = [...turnKeys(queue), countersKey(queue), unfinishedKey(queue, "live")]
  const script = { name: FINISH, of: "moveToFinished", keys: FINISH_KEYS, make: finishScript }
  return run(backend, client, script, given, keys, turn)
}

/**
 * Takes a job as BullMQ's command `moveToActive` with `given` does, but lets the lanes take turns. Without `takesBulk`, it takes
 * only a live job.
 */
export function takeInTurn(
  backend: Pick<BackendInside, "version">,
  client: Client,
  queue: string,
  given: unknown[],
  turn: LaneTurn,
): Promise<unknown> {
  const make = (lua: string) => takingScript(liveAlone(lua), TAKE_KEYS, "true")
  const script = { name: TAKE, of: "moveToActive", keys: TAKE_KEYS, make }
  return run(backend, client, script, given, turnKeys(queue), turn)
}

function run(
  { version }: Pick<BackendInside, "version">,
  client: Client,
  script: { name: string; of: string; keys: number; make(lua: string): string },
  given: unknown[],
  keys: readonly string[],
  turn: LaneTurn,
): Promise<unknown> {
  const scripted = client as unknown as Scripted
  const { name, of, keys: own, make } = script
  if (!(name in scripted)) {
    const { lua } = scripted.scriptsSet[`${of}:${version}`]!
    scripted.defineCommand(name, { numberOfKeys: own + keys.length, lua: make(lua) })
  }
  const all = [...given.slice(0, own), ...keys, ...given.slice(own), ...turnArguments(turn)]
  return (scripted[name] as (given: unknown[]) => Promise<unknown>)(all)
}
