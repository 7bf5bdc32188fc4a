/** What ingest and workers need of Redis. */
import { answerWithin } from "@unseal/archive/first-look"
import { infoFields, infoOf, isCluster, masters, type RedisClient } from "@unseal/queue/redis/client"
import { watchRedis } from "@unseal/queue/redis/health"
import { durabilityProblems, NEARLY_FULL, readMemory } from "@unseal/queue/redis/server"
import { type Check, type Finding, failed, failure, notChecked, ok, together, warning } from "./check.ts"

export interface ExaminedRedis {
  /** The queue's name. */
  readonly queue: string
  /** Settings: how many replicas must have an acknowledged job, and whether a process refuses a Redis that may lose jobs. */
  readonly replicas: number
  readonly durability: "require" | "warn"
  /** The form of the URL. The last two have failovers. */
  readonly form: "single" | "sentinel" | "cluster"
}

/** A connection to the queue's Redis, ready for commands. */
export interface RedisAccess {
  readonly connection: RedisClient
  close(): void
}

const NAMES = ["redis", "redis durability", "redis memory", "redis replicas", "clock"] as const

const SILENT = "see why Redis does not answer: its log, its load, and this machine's way to it"
/** Redis says the time of its host in microseconds, but a slow answer blurs it. */
const SKEW_SECONDS = 10
/** From this difference on, ingest refuses signed callbacks, and stores refuse requests. */
const REFUSED_SECONDS = 15 * 60

/** All checks of Redis. `connect` rejects with a clause for people. Never rejects. */
export async function examineRedis(
  connect: (signal: AbortSignal) => Promise<RedisAccess>,
  examined: ExaminedRedis,
  { limitMs, now = Date.now }: { readonly limitMs: number; readonly now?: () => number },
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const named = (findings: readonly Finding[]) =>
    NAMES.map((name, index): Check => ({ name, ...(findings[index] ?? notChecked("redis can't be used")) }))
  let access: RedisAccess
  try {
    access = await answerWithin(limitMs, signal, connect)
  } catch (error) {
    // The settings' and the connection's errors name the URL without its password, and whose move it is.
    const said =
      error instanceof Error && SPEAKING.has(error.name) ? failed(error.message, "redis", MOVES.away) : null
    return named([said ?? failure(error, "redis", SILENT)])
  }
  const { connection } = access
  const within = (look: () => Promise<Finding>): Promise<Finding> =>
    answerWithin(limitMs, signal, look).catch((error: unknown) =>
      isForbidden(error)
        ? notChecked("this user may not call INFO (docs/redis.md#permissions)")
        : failure(error, "redis", SILENT),
    )
  try {
    return named(
      await Promise.all([
        within(() => examineService(connection, examined)),
        within(() => examineDurability(connection, examined)),
        within(() => examineMemory(connection, examined)),
        within(() => examineReplicas(connection, examined)),
        within(() => examineClock(connection, now)),
      ]),
    )
  } finally {
    access.close()
  }
}

const SPEAKING = new Set(["ConfigurationError", "QueueUnavailableError"])
const MOVES = {
  away: "start Redis, or correct REDIS_URL, its password or its certificates (docs/redis.md)",
  forbidden: "grant what docs/redis.md#permissions lists",
  full: "raise maxmemory, or let workers catch up",
  disk: "free the disk that Redis writes to, and read its log",
  replica: "make REDIS_URL point to the master",
  other: "read Redis's log (docs/redis.md#when-redis-is-down-or-refuses-work)",
}

const isForbidden = (error: unknown): boolean =>
  error instanceof Error && /NOPERM|unknown command|no permissions/i.test(error.message)

/** Whether it takes a write, and everything that the queue asks of it. */
async function examineService(connection: RedisClient, { queue, form }: ExaminedRedis): Promise<Finding> {
  const role = infoFields(await infoOf(connection, queue, "replication").catch(() => "")).get("role")
  // Without a write: its refusal would make the client look for the master and drop the other checks' commands.
  if (role === "slave")
    return failed(`this Redis is a replica, not a master, and takes no write`, "redis", MOVES.replica)
  const began = performance.now()
  const health = watchRedis({ connection, queue })
  const [problem] = await health.problems().finally(() => health.close())
  const ms = Math.round(performance.now() - began)
  if (problem !== undefined) return failed(problem, "redis", moveFor(problem))
  const info = await infoOf(connection, queue, "server").catch(() => "")
  const version = serverVersion(info)
  const size = isCluster(connection)
    ? `, a cluster of ${masters(connection).length} masters`
    : form === "sentinel"
      ? ", found by its sentinels"
      : ""
  return ok(`${version}${size}, takes every command of the queue; all of them took ${ms} ms`)
}

/** What `INFO server` says. Valkey's `redis_version` is the version of Redis that it is compatible with. */
export function serverVersion(info: string): string {
  const fields = infoFields(info)
  const valkey = fields.get("valkey_version")
  return valkey === undefined ? (fields.get("redis_version") ?? "an unknown version") : `Valkey ${valkey}`
}

function moveFor(problem: string): string {
  if (problem.startsWith("redis forbids")) return MOVES.forbidden
  if (/\bOOM\b/.test(problem)) return MOVES.full
  if (/\bMISCONF\b/.test(problem)) return MOVES.disk
  if (/\bREADONLY\b/.test(problem)) return MOVES.replica
  return MOVES.other
}

/** Whether it keeps what it acknowledges, and whether its last writes to the disk went well. */
async function examineDurability(
  connection: RedisClient,
  { queue, durability }: ExaminedRedis,
): Promise<Finding> {
  const problems = await durabilityProblems(connection)
  const info = await infoOf(connection, queue, "persistence")
  const bad = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"].filter(
    (name) => infoFields(info).get(name) === "err",
  )
  const set =
    "set appendonly yes, appendfsync always and maxmemory-policy noeviction (docs/redis.md#durability)"
  const findings = [
    ...problems.map((problem) =>
      durability === "require"
        ? failed(`${problem}; ingest and workers refuse to start`, "redis", set)
        : warning(`${problem}; UNSEAL_REDIS_DURABILITY=warn takes the risk`, "redis", set),
    ),
    ...bad.map((name) => failed(`${name} is err: Redis could not write to its disk`, "redis", MOVES.disk)),
  ]
  return findings.length > 0
    ? together(findings)
    : ok("keeps what it acknowledges, and its last writes to disk were fine")
}

/** How much room is left. */
async function examineMemory(connection: RedisClient, { queue }: ExaminedRedis): Promise<Finding> {
  const { usedBytes, limitBytes } = await readMemory(connection, queue)
  const used = `${megabytes(usedBytes)} used`
  if (limitBytes > 0) {
    const share = Math.round((100 * usedBytes) / limitBytes)
    const seen = `${used} of maxmemory's ${megabytes(limitBytes)} (${share} %)`
    if (usedBytes >= limitBytes * NEARLY_FULL)
      return failed(`${seen}; ingest answers 503 from ${100 * NEARLY_FULL} % on`, "redis", MOVES.full)
    return ok(seen)
  }
  const machineBytes = Number(
    infoFields(await infoOf(connection, queue, "memory")).get("total_system_memory") ?? 0,
  )
  const seen = `${used}, without maxmemory`
  if (machineBytes === 0) return ok(seen)
  if (usedBytes < machineBytes / 2) return ok(`${seen}; the machine has ${megabytes(machineBytes)}`)
  return warning(
    `${seen}; the machine has ${megabytes(machineBytes)}`,
    "redis",
    "set maxmemory, so that ingest stops before the kernel kills Redis",
  )
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`

/** Whether ingest's demand for replicas can be met, and whether it should make one. */
async function examineReplicas(
  connection: RedisClient,
  { queue, replicas, form }: ExaminedRedis,
): Promise<Finding> {
  const info = await infoOf(connection, queue, "replication")
  if (infoFields(info).get("role") === "slave") return notChecked("this Redis is no master")
  const online = [...info.matchAll(/^slave\d+:.*\bstate=online\b/gm)].length
  const seen = `${online} online, UNSEAL_REDIS_REPLICAS is ${replicas}`
  if (online < replicas)
    return failed(
      `${seen}: ingest takes no callback`,
      "redis",
      "start the missing replicas, or lower UNSEAL_REDIS_REPLICAS",
    )
  if (replicas > 0 && online === replicas)
    return warning(`${seen}: if one goes, ingest takes no callback`, "redis", "add a replica")
  if (replicas === 0 && (form !== "single" || online > 0))
    return warning(
      `${seen}: a failover loses what no replica has yet`,
      "operator",
      "set UNSEAL_REDIS_REPLICAS=1 for ingest and the cron jobs (docs/redis.md#durability)",
    )
  return ok(seen)
}

/** Compares this machine's clock with that of Redis. */
async function examineClock(connection: RedisClient, now: () => number): Promise<Finding> {
  const [server] = masters(connection)
  if (server === undefined) return notChecked("no master is known")
  const before = now()
  const [seconds, microseconds] = await server.time()
  const middle = (before + now()) / 2
  const ahead = (middle - (Number(seconds) * 1_000 + Number(microseconds) / 1_000)) / 1_000
  const seen = `this machine's clock is ${Math.abs(ahead).toFixed(1)} s ${ahead >= 0 ? "ahead of" : "behind"} Redis's`
  const move = "correct the wrong clock (NTP)"
  if (Math.abs(ahead) >= REFUSED_SECONDS)
    return failed(
      `${seen}; one of the two is wrong, and from 15 minutes on signed callbacks and stores' requests are refused`,
      "clock",
      move,
    )
  return Math.abs(ahead) >= SKEW_SECONDS ? warning(seen, "clock", move) : ok(seen)
}
