import { z } from "zod"
import { type FieldError, Problem } from "./problem.ts"

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
 * The archive-status callback, as far as it matters here. Fields beside these are tolerated and dropped, as are statuses that
 * are unknown so far; of a password only the length is judged: one that isn't base64 becomes a dead letter, which an
 * operator sees, while a refusal here would lose the recording.
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
    partnerId: id("The project (OpenTok API key)"),
    projectId: id("The project (OpenTok API key)"),
    applicationId: id("The project (Vonage application)"),
  })
  .meta({ id: "ArchiveStatusCallback", description: "Other fields are permitted and ignored" })

/** Why a callback starts no work. */
export type IgnoredReason = "not-archive" | "not-uploaded" | "not-encrypted"

/** What a callback asks for. */
export type Callback = {
  readonly archiveId?: string
  readonly status?: string
} & (
  | { readonly ignored: IgnoredReason }
  | {
      readonly archiveId: string
      readonly status: string
      readonly encryptedPassword: string
      readonly size?: number
      readonly sha256sum?: string
    }
)

/** Understands `json` as a callback for `projectId`. Throws a `Problem` that names every field at fault. */
export function readCallback(json: unknown, projectId: string): Callback {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new Problem("invalid", "the body is not a JSON object")
  // Other callbacks of the vendor (of sessions, of streams) have other fields altogether.
  if (Object.hasOwn(json, "event") && typeof (json as { event: unknown }).event === "string")
    if ((json as { event: string }).event !== "archive") return { ignored: "not-archive" }

  const parsed = callbackSchema.safeParse(json)
  const errors: FieldError[] = (parsed.error?.issues ?? []).map(({ path, message }) => ({
    pointer: `#/${path.join("/")}`,
    detail: message,
  }))
  if (!parsed.success) throw new Problem("invalid", "fields are malformed", { errors })
  requireProject(parsed.data, projectId)

  const { id: archiveId, status, password, size, sha256sum } = parsed.data
  if (status !== "uploaded" && status !== "available") return { ignored: "not-uploaded", archiveId, status }
  if (!password) return { ignored: "not-encrypted", archiveId, status }
  return {
    archiveId,
    status,
    encryptedPassword: password,
    ...(typeof size === "number" ? { size } : {}),
    ...(sha256sum ? { sha256sum } : {}),
  }
}

/**
 * The callback must be of the project that it was sent to. The two platforms spell the project in up to three fields, and a
 * unified one may name its account beside its application: so those of the same form (digits, UUID) must all agree, and
 * if there are only others, none does.
 */
function requireProject(fields: z.output<typeof callbackSchema>, projectId: string): void {
  const isNumber = (value: string) => /^\d+$/.test(value)
  const present = PROJECT_FIELDS.filter((name) => (fields[name] ?? "") !== "")
  const alike = present.filter((name) => isNumber(fields[name] ?? "") === isNumber(projectId))
  const wrong = (alike.length > 0 ? alike : present).filter((name) => fields[name] !== projectId)
  if (wrong.length === 0) return
  throw new Problem("invalid", "the callback is of another project", {
    errors: wrong.map((name) => ({
      pointer: `#/${name}`,
      detail: "must be the project of the callback's URL",
    })),
  })
}
