import { dirname } from "node:path"
import { type ErrorCode, UnsealError } from "../../errors.ts"

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "ERR_OBJECT_NOT_FOUND",
  EACCES: "ERR_STORE_DENIED",
  EPERM: "ERR_STORE_DENIED",
  EROFS: "ERR_STORE_DENIED",
  ENOTDIR: "ERR_STORE_DENIED",
  EISDIR: "ERR_STORE_DENIED",
  ELOOP: "ERR_STORE_DENIED",
  ENAMETOOLONG: "ERR_STORE_DENIED",
  ENOSPC: "ERR_STORE_FULL",
  EDQUOT: "ERR_STORE_FULL",
}

const OWNER = "let the user that this process runs as read and write there, or correct the path"
const REMEDIES: Readonly<Record<string, string>> = {
  EACCES: OWNER,
  EPERM: OWNER,
  EROFS: "mount the file system for writing, or correct the path",
}

/** The system's name for an error, e.g. `ENOENT`. Node's codes for wrong arguments (`ERR_…`) don't count. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error && "code" in error && typeof error.code === "string")) return undefined
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined
}

/**
 * Translates a system error of `operation` on `path`. `EIO` and all others that may pass become `ERR_STORE_UNAVAILABLE`. An
 * abort of `signal` becomes its reason. Anything but a system error stays as it is.
 */
export function fileError(error: unknown, operation: string, path: string, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason
  const code = systemCode(error)
  if (code === undefined) return error
  const unsealCode = CODES[code] ?? "ERR_STORE_UNAVAILABLE"
  const where = unsealCode === "ERR_STORE_FULL" ? `, no space is left in ${dirname(path)}` : ""
  return new UnsealError(unsealCode, `${operation} of ${path} failed: ${code}${where}`, {
    cause: error,
    remedy: unsealCode === "ERR_STORE_DENIED" ? (REMEDIES[code] ?? "correct the path") : undefined,
  })
}
