/** The file of users: `NAME:HASH` or `NAME:HASH:ROLE` a line, as `unseal console user` makes them. Read again when it changes. */
import { statSync } from "node:fs"
import { isPasswordHash } from "@unseal/service/password-hash"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { readTextFile } from "@unseal/service/text-file"

/** `reader` sees everything; `operator` may act as well, where the console permits actions at all. */
export const ROLES = ["reader", "operator"] as const
export type Role = (typeof ROLES)[number]

export interface User {
  readonly name: string
  readonly hash: string
  readonly role: Role
}

export interface Users {
  get(name: string): User | undefined
  /** Sets who is told why a changed file can't be used. The users then stay as they were. */
  onInvalid(tell: (problems: readonly string[]) => void): void
}

/** Bytes; a line has about 150. */
const LARGEST_FILE = 1024 * 1024
const LOOK_EVERY_MS = 1_000
const NAME = /^[\w.@-]{1,64}$/

/** Opens the file of users. Throws `ConfigurationError` with every problem. */
export function openUsers(path: string, now: () => number = Date.now): Users {
  let stamp = stampOf(path)
  let users = readUsers(path)
  let lookedAt = now()
  let tell: (problems: readonly string[]) => void = () => {}

  function look(): void {
    if (now() - lookedAt < LOOK_EVERY_MS) return
    lookedAt = now()
    const current = stampOf(path)
    if (current === stamp) return
    try {
      users = readUsers(path)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      tell(error.problems)
    }
    stamp = current
  }

  return {
    get(name) {
      look()
      return users.get(name)
    },
    onInvalid(listener) {
      tell = listener
    },
  }
}

/** Changes whenever the file does, also if a link now leads to another one, as when Kubernetes replaces a Secret. */
function stampOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats === undefined ? "" : [stats.ino, stats.size, stats.mtimeMs].join(" ")
}

function readUsers(path: string): ReadonlyMap<string, User> {
  const label = `UNSEAL_CONSOLE_USERS_FILE: ${path}`
  let content: string
  try {
    content = readTextFile(path, LARGEST_FILE)
  } catch (error) {
    throw new ConfigurationError([`${label} can't be read (${(error as NodeJS.ErrnoException).code})`])
  }
  const users = new Map<string, User>()
  const problems: string[] = []
  for (const [index, raw] of content.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === "" || line.startsWith("#")) continue
    const [name = "", hash = "", role = "reader", ...rest] = line.split(":")
    const where = `${label}, line ${index + 1}`
    if (!NAME.test(name) || rest.length > 0)
      problems.push(`${where} is not NAME:HASH or NAME:HASH:ROLE, as "unseal console user NAME" prints it`)
    else if (!isPasswordHash(hash))
      problems.push(
        `${where}: the hash of ${name} is damaged: make it again with "unseal console user ${name}"`,
      )
    else if (!isRole(role))
      problems.push(`${where}: ${name} has a role that is not one of ${ROLES.join(", ")}`)
    else if (users.has(name)) problems.push(`${where}: ${name} is there already: keep one of the two lines`)
    else users.set(name, { name, hash, role })
  }
  if (users.size === 0 && problems.length === 0) problems.push(`${label} has no user`)
  if (problems.length > 0) throw new ConfigurationError(problems)
  return users
}

export const isRole = (text: string): text is Role => ROLES.some((role) => role === text)
