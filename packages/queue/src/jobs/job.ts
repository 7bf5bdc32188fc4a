import { hash } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { z } from "zod"
import { problemOfSourceKey } from "./source-key.ts"

const PAYLOAD_VERSION = 1

const traceparent = () =>
  z
    .string()
    .regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
    .optional()

// Without transforms, so that parsing gives what was created.
const payloadSchema = z.object({
  version: z.literal(PAYLOAD_VERSION),
  projectId: z.string().regex(/^[0-9A-Za-z-]{1,64}$/, "must be 1 to 64 digits, letters or dashes"),
  archiveId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "must be a UUID in lower case"),
  encryptedPassword: z.string().min(1).max(4096),
  size: z.int().nonnegative().optional(),
  sha256sum: z.string().max(128).optional(),
  url: z.string().startsWith("https://").max(8_192).optional(),
  sourceKey: z
    .string()
    .superRefine((key, context) => {
      const message = problemOfSourceKey(key)
      if (message !== null) context.addIssue({ code: "custom", message })
    })
    .optional(),
  status: z.string().min(1).max(64),
  receivedAt: z.iso.datetime(),
  nonce: z.string().min(1).max(128),
  // An archive is decrypted whatever its lane and its trace are.
  lane: z.literal("bulk").optional().catch(undefined),
  traceparent: traceparent().catch(undefined),
  tracestate: z
    .string()
    .regex(/^[\x20-\x7e]{1,512}$/)
    .optional()
    .catch(undefined),
  tracelink: traceparent().catch(undefined),
})

/** What a callback becomes in the queue. It holds the encrypted password as it came. */
export interface JobPayload {
  readonly version: 1
  readonly projectId: string
  /** A UUID in lower case. */
  readonly archiveId: string
  /** As in the callback: base64 of the encrypted password. */
  readonly encryptedPassword: string
  /** Bytes according to the callback, for information. */
  readonly size?: number
  /** As in the callback: base64. */
  readonly sha256sum?: string
  /** The URL of the copy in the vendor's storage, if the archive is `available`. It is signed, hence a credential: never logged. */
  readonly url?: string
  /**
   * The key of the source object below the source's prefix, given by whoever submits an archive that the project's templates don't
   * lead to. Never from a callback.
   */
  readonly sourceKey?: string
  /** The archive's status that caused this job: `uploaded`, `available`. */
  readonly status: string
  /** When the callback arrived: ISO 8601. */
  readonly receivedAt: string
  /** Random, one per callback. Shows whose payload the queue holds. */
  readonly nonce: string
  /** Absent if it is live (lane.ts). */
  readonly lane?: "bulk"
  /** W3C Trace Context of what enqueued the job: the trace that its runs belong to. */
  readonly traceparent?: string
  readonly tracestate?: string
  /** The `traceparent` of the life before a redrive, which ended as a dead letter. */
  readonly tracelink?: string
}

/** Creates a payload. Throws `ERR_JOB_INVALID`, with every problem, if the fields are not valid. */
export function createJobPayload(fields: Omit<JobPayload, "version">): JobPayload {
  return parseJobPayload(payloadOf(fields))
}

/** Creates a payload from fields that are already validated, as by `readCallback`. */
export const payloadOf = (fields: Omit<JobPayload, "version">): JobPayload => ({
  ...fields,
  version: PAYLOAD_VERSION,
})

/**
 * Parses `value` as a payload: a new object with known fields only. Throws `ERR_JOB_INVALID` with every problem at once. The
 * message names fields and never contains their values.
 */
export function parseJobPayload(value: unknown): JobPayload {
  const version =
    typeof value === "object" && value !== null ? (value as { version?: unknown }).version : undefined
  if (typeof version === "number" && version !== PAYLOAD_VERSION)
    throw new UnsealError("ERR_JOB_INVALID", `job payload version ${version} is not ${PAYLOAD_VERSION}`)

  const parsed = payloadSchema.safeParse(value)
  if (parsed.success) return withoutUndefined(parsed.data)
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join(".") || "payload"}: ${issue.message}`,
  )
  throw new UnsealError("ERR_JOB_INVALID", `job payload is malformed: ${problems.join("; ")}`)
}

function withoutUndefined(data: z.infer<typeof payloadSchema>): JobPayload {
  const { size, sha256sum, url, sourceKey, lane, traceparent, tracestate, tracelink, ...required } = data
  return {
    ...required,
    ...(size !== undefined && { size }),
    ...(sha256sum !== undefined && { sha256sum }),
    ...(url !== undefined && { url }),
    ...(sourceKey !== undefined && { sourceKey }),
    ...(lane !== undefined && { lane }),
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    ...(tracelink !== undefined && { tracelink }),
  }
}

/** The archive that a job's id names, for log lines; nothing if the id is not one of ours. */
export function archiveIn(jobId: string): { readonly projectId?: string; readonly archiveId?: string } {
  const [projectId, archiveId] = jobId.split("_")
  return projectId === undefined || archiveId === undefined ? {} : { projectId, archiveId }
}

/**
 * The job's id: one per project, archive and encrypted password. Because it depends on the password, a forged callback can't take
 * the true one's id. Because it contains nothing that changes between callbacks, neither the lane, duplicates get the same id.
 */
export function jobIdOf(payload: Pick<JobPayload, "projectId" | "archiveId" | "encryptedPassword">): string {
  const digest = hash("sha256", payload.encryptedPassword).slice(0, 16)
  return `${payload.projectId}_${payload.archiveId}_${digest}`
}
