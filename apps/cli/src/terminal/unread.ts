import { whyUnread } from "@unseal/archive/small-file"
import { UsageError } from "./exit.ts"

/** The usage error for a file that can't be read: what is wrong, and what to do about it. */
export function unread(path: string, error: unknown): UsageError {
  const { code } = error as NodeJS.ErrnoException
  if (code === "ENOENT") return new UsageError(`${path} does not exist: check the path`)
  if (code === "ENOTDIR") return new UsageError(`${path} leads through a file: check the path`)
  if (code === "EACCES" || code === "EPERM")
    return new UsageError(`${path} can't be read by this user (${code}): change its permissions, or the user`)
  return new UsageError(`${path} can't be read: ${whyUnread(error)}`)
}
