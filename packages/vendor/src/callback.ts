/** The archive-status callback ("Decrypting an archive" in the vendor's OpenTok Encryption guide), limited to what Unseal uses. */

import { UnsealError } from "@unseal/archive/errors"
import { z } from "zod"

const PROJECT_FIELDS = ["partnerId", "projectId", "applicationId"] as const

const id = (description: string) =>
  z
    .union([z.number(), z.string().max(64)], { error: "must be a number or a string" })
    .transform((value) => String(value).toLowerCase())
    .nullish()
    .meta({ description })

const size = z
  .union([z.number(), z.string().regex(/^\d{1,16}$/)], { error: "must be a number of bytes" })
  .transform(Number)
  .refine((bytes) => Number.isSafeInteger(bytes) && bytes >= 0, { error: "must be a whole number of bytes" })
  .nullish()

/**
 * The fields of an archive-status callback that Unseal uses. Other fields are tolerated and dropped, and so are statuses
 * that are not known yet. Only a password's length is checked: a password that isn't base64 becomes a dead letter, which an
 * operator sees, whereas refusing it here would lose the recording.
 */
export const callbackSchema = z
  .object({
    id: z
      .guid({ error: "must be a UUID" })
      .transform((archiveId) => archiveId.toLowerCase())
      .meta({ description: "The archive" }),
    event: z.string().max(64).nullish().meta({ description: "`archive`" }),
    status: z
      .string({ error: "must be a string" })
      .min(1, { error: "must not be empty" })
      .max(64, { error: "must have at most 64 characters" })
      .meta({
        description: "Work begins at `uploaded` and at `available`, if there is a password",
        example: "uploaded",
      }),
    password: z
      .string({ error: "must be a string" })
      .max(4_096, { error: "must have at most 4096 characters" })
      .nullish()
      .meta({
        description: "The encrypted password, in base64; empty or absent if the archive is not encrypted",
      }),
    size: size.meta({ description: "Bytes, as a number or a string" }),
    sha256sum: z
      .string({ error: "must be a string" })
      .max(128, { error: "must have at most 128 characters" })
      .nullish()
      .meta({ description: "SHA-256, in base64" }),
    // `urlOf` checks it. A bad URL must not cost the archive, whose URL the REST API gives as well.
    url: z.unknown().optional().meta({
      type: "string",
      format: "uri",
      description: "Of the copy in the vendor's storage, while the archive is `available`",
    }),
    partnerId: id("The project (OpenTok API key)"),
    projectId: id("The project (OpenTok API key)"),
    applicationId: id("The project (Vonage application)"),
  })
  .meta({ description: "Other fields are permitted and ignored" })

/** Why a callback starts no work. */
export type IgnoredReason = "not-archive" | "not-uploaded" | "not-encrypted"

/** A parsed callback. */
export type Callback = {
  readonly archiveId?: string
  readonly status?: string
} & (
  | { readonly ignored: IgnoredReason }
  | {
      readonly archiveId: string
      readonly status: string
      /** The project that the callback names. Absent if it names none, or several of one form. */
      readonly projectId?: string
      /** Base64, with any content. */
      readonly encryptedPassword: string
      /**
       * The `https:` URL of the copy in the vendor's storage. Present only while `available`, and valid for ten minutes. It is a
       * credential: anyone who has it can read the ciphertext. The host is not checked here; whoever fetches it must do that.
       */
      readonly url?: string
      /** Bytes. */
      readonly size?: number
      /** Base64. */
      readonly sha256sum?: string
    }
)

/** An invalid field, by JSON pointer (RFC 6901). */
export interface FieldError {
  readonly pointer: string
  readonly detail: string
}

/** A callback that can't be parsed: `ERR_JOB_INVALID` with every invalid field. */
export class CallbackError extends UnsealError {
  /** The message without the fields. */
  readonly summary: string
  readonly fields: readonly FieldError[]

  constructor(summary: string, fields: readonly FieldError[] = []) {
    const details = fields.map(({ pointer, detail }) => `${pointer} ${detail}`).join(", ")
    super("ERR_JOB_INVALID", details === "" ? summary : `${summary}: ${details}`)
    this.summary = summary
    this.fields = fields
  }
}

/**
 * Parses `json` as a callback, which must belong to `projectId` if that is given. Throws a `CallbackError`, whose message
 * never contains a value of the callback.
 */
export function readCallback(json: unknown, projectId?: string): Callback {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new CallbackError("the callback is not a JSON object")
  // The vendor's other callbacks (of sessions and streams) have entirely different fields.
  if (Object.hasOwn(json, "event") && typeof (json as { event: unknown }).event === "string")
    if ((json as { event: string }).event !== "archive") return { ignored: "not-archive" }

  const parsed = callbackSchema.safeParse(json)
  if (!parsed.success)
    throw new CallbackError(
      "fields of the callback are malformed",
      parsed.error.issues.map(({ path, message }) => ({ pointer: `#/${path.join("/")}`, detail: message })),
    )
  if (projectId !== undefined) requireProject(parsed.data, projectId)

  const { id: archiveId, status, password, size, sha256sum } = parsed.data
  if (status !== "uploaded" && status !== "available") return { ignored: "not-uploaded", archiveId, status }
  if (!password) return { ignored: "not-encrypted", archiveId, status }
  const named = [...new Set(PROJECT_FIELDS.map((name) => parsed.data[name]).filter(Boolean))]
  return {
    archiveId,
    status,
    ...(named.length === 1 ? { projectId: named[0]! } : {}),
    encryptedPassword: password,
    ...(status === "available" ? urlOf(parsed.data.url) : {}),
    ...(typeof size === "number" ? { size } : {}),
    ...(sha256sum ? { sha256sum } : {}),
  }
}

const LONGEST_URL = 8_192

/** Drops a bad URL instead of refusing the callback, which would lose the recording. */
function urlOf(url: unknown): { url?: string } {
  if (typeof url !== "string" || url.length > LONGEST_URL) return {}
  return url.startsWith("https://") && URL.canParse(url) ? { url } : {}
}

/**
 * The callback must belong to the project that it was sent to. The two platforms name the project in up to three fields, and
 * a unified one may name its account beside its application. So all fields of the project's form (digits or UUID) must agree;
 * if there are only fields of the other form, the callback is refused.
 */
function requireProject(fields: z.output<typeof callbackSchema>, projectId: string): void {
  const isNumber = (value: string) => /^\d+$/.test(value)
  const present = PROJECT_FIELDS.filter((name) => (fields[name] ?? "") !== "")
  const alike = present.filter((name) => isNumber(fields[name] ?? "") === isNumber(projectId))
  const wrong = (alike.length > 0 ? alike : present).filter((name) => fields[name] !== projectId)
  if (wrong.length === 0) return
  throw new CallbackError(
    "the callback belongs to another project",
    wrong.map((name) => ({ pointer: `#/${name}`, detail: "must be the project of the callback's URL" })),
  )
}
