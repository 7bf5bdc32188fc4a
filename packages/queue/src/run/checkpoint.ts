import type {
  Checkpoint,
  CheckpointLog,
  CheckpointUpload,
  PartReceipt,
} from "@unseal/archive/decrypt/checkpoint"
import { untilAborted, withDeadline } from "@unseal/archive/waiting"
import { z } from "zod"
import { findArchiveJobs } from "../jobs/archive-jobs.ts"
import { archiveIn } from "../jobs/job.ts"
import { checkpointKey, lockKey } from "../names.ts"
import type { RedisClient } from "../redis/client.ts"
import type { QueueLogger } from "../redis/error-log.ts"
import { LockLostError } from "./lock.ts"

const uploadSchema = z.object({
  token: z.string().min(1),
  destinationKey: z.string(),
  sourceKey: z.string(),
  sourceEtag: z.string(),
  sourceSize: z.int().nonnegative(),
  partSize: z.int().positive(),
  plaintextSize: z.int().nonnegative(),
}) satisfies z.ZodType<CheckpointUpload>
const receiptSchema = z.object({
  size: z.int().nonnegative(),
  tag: z.string(),
  crc32: z.int().nonnegative(),
  syncErrors: z.int().nonnegative(),
  proof: z.string().optional(),
}) satisfies z.ZodType<PartReceipt>

export interface CheckpointOptions {
  readonly connection: RedisClient
  readonly queue: string
  readonly jobId: string
  /** The run's token, which its lock contains. */
  readonly token: string
  readonly signal: AbortSignal
  readonly logger?: QueueLogger
  onLockLost(reason: LockLostError): void
}

/** Longer than stores keep an unfinished upload: S3's usual lifecycle rule and Azure's staged blocks end after 7 days. */
const EXPIRY_MS = 8 * 24 * 3_600_000

const NOTES_MS = 1_000
/**
 * A cluster's failover takes its node timeout, 15 s by default, and a second or two. No other job is taken from Redis meanwhile.
 */
const FAILOVER_MS = 20_000

/**
 * KEYS: lock, checkpoint. ARGV: token, 1 to start over, expiry, the upload or "", then fields and values. If the upload is not the
 * noted one, the checkpoint starts over: a failover may have lost the note but kept the older lock.
 */
const WRITE = `
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
local upload = ARGV[4]
if ARGV[2] == "1" or (upload ~= "" and redis.call("HGET", KEYS[2], "upload") ~= upload) then
  redis.call("DEL", KEYS[2])
  if upload ~= "" then redis.call("HSET", KEYS[2], "upload", upload) end
end
if #ARGV > 4 then redis.call("HSET", KEYS[2], unpack(ARGV, 5)) end
redis.call("PEXPIRE", KEYS[2], ARGV[3])
return 1`

/**
 * The checkpoint log of one run: a hash in Redis beside the job. It knows whether it is `empty`: found or made so, and not written
 * since. Only the run that holds the job's lock can write, as Redis itself checks; others get `LockLostError`. Every call but
 * `notes` rejects as soon as the run is aborted. `load` resolves to `null` for a damaged checkpoint, too. `notes` rejects after a
 * second, or, if a failover may have taken the lock, once that should be over. `hasRivals` looks through all keys of Redis, a
 * thousand at a time.
 */
export function openCheckpointLog(options: CheckpointOptions): CheckpointLog & { readonly empty: boolean } {
  const { connection, queue, jobId, signal } = options
  const key = checkpointKey(queue, jobId)
  // Nobody else can write while the run holds the lock.
  let empty = false
  /** This run's upload, as noted. */
  let upload = ""

  async function ask(anew: boolean, noted: string, ...fields: string[]): Promise<void> {
    const keys = [lockKey(queue, jobId), key]
    const asked = connection.eval(WRITE, 2, ...keys, options.token, anew ? 1 : 0, EXPIRY_MS, noted, ...fields)
    if ((await untilAborted(asked, signal)) === 1) return
    const reason = new LockLostError("the lock is gone or another worker's")
    options.onLockLost(reason)
    throw reason
  }

  async function write(noted: string, name: string, value: unknown): Promise<void> {
    await ask(false, noted, name, JSON.stringify(value))
    empty = false
  }

  async function clear(): Promise<void> {
    await ask(true, "")
    empty = true
  }

  return {
    async load() {
      let fields: Record<string, string>
      try {
        fields = await untilAborted(connection.hgetall(key), signal)
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith("WRONGTYPE"))) throw error
        options.logger?.warn(
          { jobId, ...archiveIn(jobId), err: error },
          "checkpoint is damaged: starting over",
        )
        await clear()
        return null
      }
      empty = Object.keys(fields).length === 0
      if (empty) return null
      try {
        const found = parseCheckpoint(fields)
        upload = fields.upload ?? ""
        return found
      } catch (error) {
        options.logger?.warn(
          { jobId, ...archiveIn(jobId), err: error },
          "checkpoint is damaged: starting over",
        )
        return null
      }
    },
    async begin(begun) {
      upload = JSON.stringify(uploadSchema.parse(begun))
      await ask(true, upload)
      empty = false
    },
    part: (number, receipt) => write(upload, `part:${number}`, receiptSchema.parse(receipt)),
    seal: (record) => write("", "record", record),
    async clear() {
      if (!empty) await clear()
    },
    async notes(token) {
      const patienceMs = signal.reason instanceof LockLostError ? FAILOVER_MS : NOTES_MS
      const late = () => new Error(`redis did not answer within ${patienceMs} ms`)
      const noted = await withDeadline(connection.hget(key, "upload"), patienceMs, late)
      return noted !== null && uploadSchema.parse(JSON.parse(noted)).token === token
    },
    async hasRivals() {
      const archiveId = jobId.split("_")[1] ?? ""
      const jobs = await untilAborted(findArchiveJobs(connection, queue, archiveId), signal)
      // Comes last: the next owner of the job must come after this.
      await ask(false, "")
      return jobs.some((job) => job.jobId !== jobId && job.state !== "completed")
    },
    get empty() {
      return empty
    },
  }
}

function parseCheckpoint(fields: Record<string, string>): Checkpoint {
  const parts = new Map<number, PartReceipt>()
  for (const [field, value] of Object.entries(fields)) {
    const number = field.match(/^part:([1-9]\d*)$/)?.[1]
    if (number !== undefined) parts.set(Number(number), receiptSchema.parse(JSON.parse(value)))
  }
  if (parts.size > 0 && fields.upload === undefined) throw new RangeError("parts of no upload")
  return {
    ...(fields.upload !== undefined && { upload: uploadSchema.parse(JSON.parse(fields.upload)) }),
    parts,
    ...(fields.record !== undefined && { record: JSON.parse(fields.record) as unknown }),
  }
}
