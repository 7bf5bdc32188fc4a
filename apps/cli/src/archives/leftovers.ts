/**
 * What a killed run of the command line leaves: the hidden beginning of a plaintext beside its destination. Each run adds a note
 * about its process. The next run to that destination removes what no live process is writing.
 */
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { parseUploadName, uploadFilesOf } from "@unseal/archive/store/directory/names"

const OWNER = ".owner"

interface Owner {
  readonly host: string
  readonly pid: number
  /** In the system's own units. Distinguishes processes with the same id. */
  readonly startedAt: string
}

/** Wraps `store`, a directory, so that a note about this process lies beside what it writes for `path`. */
export function withOwner(store: OpenedStore, path: string): OpenedStore {
  return {
    ...store,
    async create(key, size, options, signal) {
      const writer = await store.create(key, size, options, signal)
      const note = uploadFilesOf(path, writer.token).temporary + OWNER
      const me: Owner = { host: hostname(), pid: process.pid, startedAt: await startOf(process.pid) }
      // An unfinished note names nobody, so what lies beside it would stay for ever.
      await writeFile(`${note}.new`, JSON.stringify(me), { mode: 0o600 })
      await rename(`${note}.new`, note)
      const forget = () => rm(note, { force: true })
      return {
        ...writer,
        complete: (parts, signal) => writer.complete(parts, signal).finally(forget),
        abort: () => writer.abort().finally(forget),
      }
    },
  }
}

/** Removes what killed runs left of `path`. Resolves to the names, and to how many bytes of plaintext they contained. */
export async function removeLeftovers(
  store: OpenedStore,
  path: string,
  signal: AbortSignal,
): Promise<{ name: string; bytes: number }[]> {
  const removed: { name: string; bytes: number }[] = []
  const directory = dirname(path)
  for (const name of await readdir(directory).catch(() => [])) {
    if (!name.endsWith(OWNER)) continue
    const upload = parseUploadName(name.slice(0, -OWNER.length))
    if (upload?.name !== basename(path) || (await isAlive(join(directory, name)))) continue
    const { temporary } = uploadFilesOf(path, upload.token)
    const bytes = await stat(temporary).then(
      (stats) => stats.size,
      () => null,
    )
    await store.abortUpload({ key: upload.name, token: upload.token, startedAt: new Date(0) }, signal)
    await rm(join(directory, name), { force: true })
    if (bytes !== null) removed.push({ name: temporary, bytes })
  }
  return removed
}

/** `true` for another host's note or an unreadable one: its process may be alive. */
async function isAlive(note: string): Promise<boolean> {
  try {
    const owner = JSON.parse(await readFile(note, "utf8")) as Owner
    if (owner.host !== hostname() || !Number.isInteger(owner.pid)) return true
    process.kill(owner.pid, 0)
    return (await startOf(owner.pid)) === owner.startedAt
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH"
  }
}

/** When a process was started, if the system says so. Otherwise only its id counts. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
  // The second field, the program's name, may contain blanks and parentheses.
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""
}
