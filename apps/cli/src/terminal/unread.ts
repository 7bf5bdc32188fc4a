import { whyUnread } from "@unseal/archive/small-file"
import { UsageError } from "./exit.ts"

/** The mistake in the command that a file which can't be read is: what is wrong, and what to do about it. */
export function unread(path: string, error: unknown): UsageError {
  const { code } = error as NodeJS.ErrnoException
  if (code === "ENOENT") return new UsageError(`${path} does not exist: check the path`)
  if (code === "ENOTDIR") return new UsageError(`${path} leads through a file: check the path`)
  if (code === "EACCES" || code === "EPERM")
    return new UsageError(`${path} can't be read by this user (${code}): change its permissions, or the user`)
  return new UsageError(`${path} can't be read: ${whyUnread(error)}`)
}
