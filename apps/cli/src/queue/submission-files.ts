/** The files that the arguments name. A folder stands for all files in it. */
import { createReadStream } from "node:fs"
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { addAbortSignal } from "node:stream"
import { readPipe } from "@unseal/archive/pipe"
import { unread } from "../terminal/unread.ts"

/** A file, or standard input (`-`). */
export interface SubmissionFile {
  readonly path: string
  /** Bytes; `null` for what has no size, such as a pipe. */
  readonly size: number | null
  /** It was found in a folder, so it may hold something other than callbacks. */
  readonly isFound: boolean
}

const READ_BYTES = 256 * 1024

/**
 * The files of `paths`, in this order. A folder's files and subfolders follow by name, without hidden ones. Throws `UsageError`
 * if a path can't be examined.
 */
export async function submissionFiles(paths: readonly string[]): Promise<SubmissionFile[]> {
  const files: SubmissionFile[] = []
  for (const path of paths) {
    if (path === "-") files.push({ path, size: null, isFound: false })
    else await add(path, files, false)
  }
  return files
}

async function add(path: string, files: SubmissionFile[], isFound: boolean): Promise<void> {
  const stats = await stat(path).catch((error) => {
    throw unread(path, error)
  })
  if (stats.isFile()) files.push({ path, size: stats.size, isFound })
  else if (stats.isDirectory()) {
    const entries = await readdir(path, { withFileTypes: true }).catch((error) => {
      throw unread(path, error)
    })
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const inner = join(path, entry.name)
      // A link to a folder may lead back here, and a link may lead to nothing.
      const isLinkToNone = entry.isSymbolicLink() && !(await isFile(inner))
      if (!entry.name.startsWith(".") && !isLinkToNone) await add(inner, files, true)
    }
  }
  // A pipe or a device in a folder may never end.
  else if (!isFound) files.push({ path, size: null, isFound })
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  )

/** The bytes of `file`. Throws `UsageError` if reading fails, and the reason of `signal`. */
export async function* openSubmission({ path }: SubmissionFile, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    if (path === "-") yield* addAbortSignal(signal, process.stdin) as AsyncIterable<Buffer>
    else if ((await stat(path)).isFIFO()) yield* readPipe(path, signal) as AsyncIterable<Buffer>
    else
      yield* addAbortSignal(
        signal,
        createReadStream(path, { highWaterMark: READ_BYTES }),
      ) as AsyncIterable<Buffer>
  } catch (error) {
    signal.throwIfAborted()
    throw unread(path, error)
  }
}
