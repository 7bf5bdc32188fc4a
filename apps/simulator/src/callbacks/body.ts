/** What an archive-status callback says ("Decrypting an archive" in the OpenTok Encryption guide; the archiving guide's statuses). */
import type { Digests, Recording } from "../recording/recording.ts"

export const ARCHIVE_STATUSES = [
  "started",
  "paused",
  "stopped",
  "uploaded",
  "available",
  "expired",
  "failed",
  "deleted",
] as const

export type ArchiveStatus = (typeof ARCHIVE_STATUSES)[number]

/** Field spellings that differ between the vendor's platforms and over the years. */
export interface CallbackForm {
  /** Legacy callbacks say `partnerId` (a number), later ones `projectId` (a number), the unified platform `applicationId` (a UUID). */
  readonly projectIdName: "partnerId" | "projectId" | "applicationId"
  readonly sizeForm: "number" | "string"
  /** Adds the undocumented `sha256sum`, base64 of the digest of these bytes. */
  readonly sha256sum: "absent" | keyof Digests
}

export const DEFAULT_CALLBACK_FORM: CallbackForm = {
  projectIdName: "partnerId",
  sizeForm: "number",
  sha256sum: "absent",
}

/** The settings that a customer may choose for an archive, repeated in its callbacks. */
export interface ArchiveSettings {
  readonly hasAudio: boolean
  readonly hasVideo: boolean
  /** For example `640x480`. */
  readonly resolution: string
  readonly streamMode: "auto" | "manual"
  /** Distinguishes archives of one session that are recorded at the same time. */
  readonly multiArchiveTag?: string
}

export const USUAL_SETTINGS: ArchiveSettings = {
  hasAudio: true,
  hasVideo: true,
  resolution: "640x480",
  streamMode: "auto",
}

/** The facts about an archive that a callback reports. */
export interface CallbackSubject {
  readonly id: string
  readonly projectId: string
  readonly sessionId: string
  readonly name: string
  /** Defaults to the vendor's usual settings. */
  readonly settings?: ArchiveSettings
  /** Milliseconds since 1970, as in all times of callbacks. */
  readonly createdAt: number
  readonly reason: string
  /** The download URL of the stored copy; sent only with status `available`. */
  readonly url: string | null
  readonly recording: Pick<Recording, "size" | "encryptedPassword"> | null
  readonly sha256: Digests | null
}

/** Statuses at which an object exists, or once did. Only they report its size and password. */
const STORED: ReadonlySet<ArchiveStatus> = new Set(["uploaded", "available", "expired", "deleted"])

/** The callback's JSON. Sign exactly these bytes. */
export function callbackBody(
  subject: CallbackSubject,
  status: ArchiveStatus,
  form: CallbackForm = DEFAULT_CALLBACK_FORM,
  now: number = Date.now(),
): string {
  return JSON.stringify(archiveFields(subject, status, form, now))
}

/** The fields that a callback and the REST API report about an archive. */
export function archiveFields(
  subject: CallbackSubject,
  status: ArchiveStatus,
  form: CallbackForm,
  now: number = Date.now(),
) {
  const stored = STORED.has(status)
  const { settings = USUAL_SETTINGS } = subject
  const size = stored ? (subject.recording?.size ?? 0) : 0
  return {
    id: subject.id,
    event: "archive",
    createdAt: subject.createdAt,
    updatedAt: now,
    // A known issue in the guide: an encrypted archive always reports a duration of 0.
    duration: 0,
    name: subject.name,
    [form.projectIdName]: projectIdValue(subject.projectId, form.projectIdName),
    reason: subject.reason,
    sessionId: subject.sessionId,
    size: form.sizeForm === "string" ? String(size) : size,
    status,
    password: stored ? (subject.recording?.encryptedPassword ?? "") : "",
    ...sha256sum(form.sha256sum, stored ? subject.sha256 : null),
    url: status === "available" ? subject.url : null,
    outputMode: "composed",
    ...settings,
    streams: [{ streamId: subject.id, hasAudio: settings.hasAudio, hasVideo: settings.hasVideo }],
  }
}

function projectIdValue(projectId: string, name: CallbackForm["projectIdName"]): string | number {
  return name !== "applicationId" && /^[0-9]+$/.test(projectId) ? Number(projectId) : projectId
}

function sha256sum(of: CallbackForm["sha256sum"], digests: Digests | null): { sha256sum?: string } {
  if (of === "absent") return {}
  return { sha256sum: digests === null ? "" : Buffer.from(digests[of], "hex").toString("base64") }
}
