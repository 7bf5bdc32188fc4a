import { countersKey, liveKey } from "../names.ts"
import type { BackendInside } from "./inside.ts"

/** Positions among the KEYS of BullMQ's `moveToFinished`, from 1. */
const JOB = 12
const KEYS = 14

/**
 * BullMQ's script as a function. In the same step the job's bytes leave the backlog (backlog.ts), and the job leaves the live
 * jobs (live-jobs.ts). That can't fail: a job whose fields are damaged must end all the same.
 */
const finishScript = (lua: string): string => `
local function finish(KEYS, ARGV)
${lua}
end
local job, counters, live = KEYS[${JOB}], KEYS[${KEYS + 1}], KEYS[${KEYS + 2}]
local bytes = redis.pcall("HGET", job, "bytes")
local answer = finish(KEYS, ARGV)
if type(answer) == "number" and answer < 0 then return answer end
redis.pcall("ZREM", live, ARGV[1])
if type(bytes) == "string" then
  redis.pcall("HDEL", job, "bytes")
  if tonumber(bytes) then redis.pcall("HINCRBY", counters, "bytes", "-" .. bytes) end
end
return answer`

const COMMAND = "unsealMoveToFinished"

type Scripted = Readonly<Record<string, unknown>> & {
  readonly scriptsSet: Readonly<Record<string, { readonly lua: string }>>
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void
}

/** Ends a job as BullMQ's command `moveToFinished` with `given` does, and counts its bytes off. */
export function finishAndCount(
  { version }: Pick<BackendInside, "version">,
  client: Parameters<BackendInside["execCommand"]>[0],
  queue: string,
  given: unknown[],
): Promise<unknown> {
  const scripted = client as unknown as Scripted
  if (!(COMMAND in scripted)) {
    const { lua } = scripted.scriptsSet[`moveToFinished:${version}`]!
    scripted.defineCommand(COMMAND, { numberOfKeys: KEYS + 2, lua: finishScript(lua) })
  }
  const withOurs = [...given.slice(0, KEYS), countersKey(queue), liveKey(queue), ...given.slice(KEYS)]
  return (scripted[COMMAND] as (given: unknown[]) => Promise<unknown>)(withOurs)
}
