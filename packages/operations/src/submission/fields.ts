/**
 * The fields of a submitted archive, checked as a worker would check them: whoever submits an archive learns at once what a
 * worker can't use.
 */
import { isUnsealError } from "@unseal/archive/errors"
import { decodeEncryptedPassword } from "@unseal/archive/format/password"
import type { JobPayload } from "@unseal/queue/jobs/job"
import { problemOfSourceKey } from "@unseal/queue/jobs/source-key"
import { CallbackError, readCallback } from "@unseal/vendor/callback"

/** What a line contributes to a job's payload. A job also has a nonce and a time. */
export type SubmittedArchive = Pick<
  JobPayload,
  "projectId" | "archiveId" | "encryptedPassword" | "status" | "size" | "sha256sum" | "url" | "sourceKey"
>

/**
 * Why a line starts no work: `no-callback`: it has no callback, like most lines of a log · `not-archive`, `not-uploaded`,
 * `not-encrypted`: its callback starts no work · `other-project`: only one project was asked for.
 */
export type IgnoredLine = "no-callback" | "not-archive" | "not-uploaded" | "not-encrypted" | "other-project"

/** What a line, or an object of JSON, says. The reason holds no value of the line. */
export type Said =
  | { readonly payload: SubmittedArchive }
  | { readonly ignored: IgnoredLine; readonly archiveId?: string }
  | { readonly malformed: string }

const PROJECT = /^[0-9A-Za-z-]{1,64}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * What the callback `json` says. `projectId` is the only project that is wanted. A callback that names no project belongs to it.
 */
export function readSubmittedCallback(json: unknown, projectId: string | undefined): Said {
  try {
    const named = readCallback(json)
    if ("ignored" in named) {
      const { ignored, archiveId } = named
      return { ignored, ...(archiveId !== undefined && { archiveId }) }
    }
    if (projectId !== undefined && !isOf(json, projectId)) return { ignored: "other-project" }
    const project = projectId ?? named.projectId
    if (project === undefined)
      return { malformed: "the callback does not name one project: give --project ID" }
    return checked({ ...named, projectId: project })
  } catch (error) {
    if (error instanceof CallbackError) return { malformed: error.message }
    throw error
  }
}

function isOf(json: unknown, projectId: string): boolean {
  try {
    readCallback(json, projectId)
    return true
  } catch (error) {
    if (error instanceof CallbackError) return false
    throw error
  }
}

/** The fields of a row, as text. An empty field is absent. */
export interface Row {
  readonly archiveId?: string
  readonly projectId?: string
  readonly password?: string
  readonly key?: string
  readonly size?: string
  readonly sha256sum?: string
}

/** What a row of a table says. */
export function readRow(row: Row, projectId: string | undefined): Said {
  const archiveId = row.archiveId?.trim().toLowerCase() ?? ""
  if (!UUID.test(archiveId)) return { malformed: "archiveId must be a UUID" }
  const project = (row.projectId?.trim() || projectId)?.toLowerCase()
  if (project === undefined) return { malformed: "projectId is empty: fill it in, or give --project ID" }
  if (projectId !== undefined && project !== projectId) return { ignored: "other-project", archiveId }
  const encryptedPassword = row.password?.replace(/\s+/g, "") ?? ""
  if (encryptedPassword === "") return { ignored: "not-encrypted", archiveId }
  const size = row.size?.trim() ?? ""
  if (size !== "" && !(/^\d{1,16}$/.test(size) && Number.isSafeInteger(Number(size))))
    return { malformed: "size must be a whole number of bytes" }
  const sha256sum = base64OfDigest(row.sha256sum?.trim() ?? "")
  if (sha256sum === null) return { malformed: "sha256sum must be a SHA-256 in base64 or in hex" }
  return checked({
    ...{ projectId: project, archiveId, encryptedPassword, status: "uploaded" },
    ...(size !== "" && { size: Number(size) }),
    ...(sha256sum !== "" && { sha256sum }),
    ...(row.key && { sourceKey: row.key }),
  })
}

function base64OfDigest(text: string): string | null {
  if (text === "" || /^[A-Za-z0-9+/]{43}=$/.test(text)) return text
  return /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex").toString("base64") : null
}

function checked(fields: SubmittedArchive): Said {
  const { projectId, archiveId, encryptedPassword, status, size, sha256sum, url, sourceKey } = fields
  if (!PROJECT.test(projectId)) return { malformed: "projectId must be 1 to 64 digits, letters or dashes" }
  if (sourceKey !== undefined) {
    const problem = problemOfSourceKey(sourceKey)
    if (problem !== null) return { malformed: `key ${problem}` }
  }
  try {
    decodeEncryptedPassword(encryptedPassword)
  } catch (error) {
    if (isUnsealError(error)) return { malformed: error.message }
    throw error
  }
  return {
    payload: {
      ...{ projectId, archiveId, encryptedPassword, status },
      ...(size !== undefined && { size }),
      ...(sha256sum !== undefined && { sha256sum }),
      ...(url !== undefined && { url }),
      ...(sourceKey !== undefined && { sourceKey }),
    },
  }
}
