import { hash } from "node:crypto"
import { UnsealError } from "@unseal/archive/errors"
import { z } from "zod"

const VERSION = 1

// Nothing here is transformed, so that what is parsed is what was created.
const payloadSchema = z.object({
  version: z.literal(VERSION),
  projectId: z.string().regex(/^[0-9A-Za-z-]{1,64}$/, "must be 1 to 64 digits, letters or dashes"),
  archiveId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "must be a UUID in lower case"),
  encryptedPassword: z.string().min(1).max(4096),
  size: z.int().nonnegative().optional(),
  sha256sum: z.string().max(128).optional(),
  url: z.string().startsWith("https://").max(8_192).optional(),
  status: z.string().min(1).max(64),
  receivedAt: z.iso.datetime(),
  nonce: z.string().min(1).max(128),
  traceparent: z
    .string()
    .regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/, "must be a W3C traceparent")
    .optional(),
})

/** What a callback becomes in the queue. It holds the encrypted password as it came. */
export interface JobPayload {
  readonly version: 1
  readonly projectId: string
  /** A UUID in lower case. */
  readonly archiveId: string
  /** As in the callback: base64 of the encrypted password. */
  readonly encryptedPassword: string
  /** Bytes, as the callback says: for information. */
  readonly size?: number
  /** As in the callback: base64. */
  readonly sha256sum?: string
  /** Of the copy in the vendor's storage, if the archive is `available`. Signed, hence a credential: never logged. */
  readonly url?: string
  /** The archive's status that made this a job: `uploaded`, `available`. */
  readonly status: string
  /** When the callback arrived: ISO 8601. */
  readonly receivedAt: string
  /** Random, one per callback: tells whose payload it is that the queue holds. */
  readonly nonce: string
  /** W3C Trace Context of the callback. */
  readonly traceparent?: string
}

/** The payload of `fields`. `ERR_JOB_INVALID`, with every problem, if they are not valid. */
export function createJobPayload(fields: Omit<JobPayload, "version">): JobPayload {
  return parseJobPayload(payloadOf(fields))
}

/** The payload of `fields` that have been judged already, as `readCallback` does: they are not judged once more. */
export const payloadOf = (fields: Omit<JobPayload, "version">): JobPayload => ({
  ...fields,
  version: VERSION,
})

/**
 * The payload in `value`, as a fresh object with known fields only. `ERR_JOB_INVALID` with every problem at once; the message
 * names fields and never holds their values.
 */
export function parseJobPayload(value: unknown): JobPayload {
  const version =
    typeof value === "object" && value !== null ? (value as { version?: unknown }).version : undefined
  if (typeof version === "number" && version !== VERSION)
    throw new UnsealError("ERR_JOB_INVALID", `job payload version ${version} is not ${VERSION}`)

  const parsed = payloadSchema.safeParse(value)
  if (parsed.success) return withoutUndefined(parsed.data)
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.join(".") || "payload"}: ${issue.message}`,
  )
  throw new UnsealError("ERR_JOB_INVALID", `job payload is malformed: ${problems.join("; ")}`)
}

function withoutUndefined(data: z.infer<typeof payloadSchema>): JobPayload {
  const { size, sha256sum, url, traceparent, ...required } = data
  return {
    ...required,
    ...(size !== undefined && { size }),
    ...(sha256sum !== undefined && { sha256sum }),
    ...(url !== undefined && { url }),
    ...(traceparent !== undefined && { traceparent }),
  }
}

/**
 * The job's id: one per project, archive and encrypted password. With the password in it, a forged callback can't take the id
 * of the true one; without anything that changes between callbacks, duplicates meet.
 */
export function jobIdOf(payload: Pick<JobPayload, "projectId" | "archiveId" | "encryptedPassword">): string {
  const digest = hash("sha256", payload.encryptedPassword).slice(0, 16)
  return `${payload.projectId}_${payload.archiveId}_${digest}`
}
