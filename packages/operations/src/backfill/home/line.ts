/** The lines of a manifest in their normal form: the same input gives the same lines, on any day and on any machine. */
import { hash } from "node:crypto"
import type { JobPayload } from "@unseal/queue/jobs/job"

/** An archive of a manifest. */
export interface ManifestLine
  extends Pick<
    JobPayload,
    "projectId" | "archiveId" | "encryptedPassword" | "status" | "size" | "sha256sum"
  > {
  /** Its line number in the input, counted from 1. */
  readonly line: number
  /** The key of its object, if it differs from the project's templates. */
  readonly sourceKey?: string
}

/** A line that should be an archive but is not. */
export interface RefusedLine {
  readonly line: number
  /** A clause without secrets. */
  readonly refused: string
}

export type SegmentLine = ManifestLine | RefusedLine

export const isRefused = (line: SegmentLine): line is RefusedLine => "refused" in line

/** The fields of a payload that belong to the archive, and not to the moment or the way in which it arrived. */
export function manifestLineOf(line: number, payload: Omit<ManifestLine, "line">): ManifestLine {
  const { projectId, archiveId, encryptedPassword, status, size, sha256sum, sourceKey } = payload
  return {
    ...{ line, projectId, archiveId, encryptedPassword, status },
    ...(size !== undefined && { size }),
    ...(sha256sum !== undefined && { sha256sum }),
    ...(sourceKey !== undefined && { sourceKey }),
  }
}

/** One line of JSON for each line. The digest of a segment is computed over this text. */
export const encodeLines = (lines: readonly SegmentLine[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join("")

/** What `encodeLines` made. */
export const decodeLines = (text: string): SegmentLine[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SegmentLine)

/** The hex SHA-256 of `text`. */
export const digestOf = (text: string): string => hash("sha256", text)
