/** Sessions are in their cookie, signed, so that a restart with the same secret ends none. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { User } from "./users.ts"

/** A session ends after this time without a request. A visible page makes one every few seconds. */
export const IDLE_MS = 30 * 60_000
/** A session ends after this time in any case. */
export const LONGEST_MS = 12 * 3_600_000
/** How often the cookie is renewed while it is used. */
const RENEW_MS = 60_000

interface Session {
  readonly id: string
  readonly name: string
  /** Of the user's line in the file: a new password or role ends the session, and so does the removal of the user. */
  readonly line: string
  /** Milliseconds since the epoch. */
  readonly begunAt: number
  readonly seenAt: number
}

export interface FoundSession {
  readonly id: string
  readonly user: User
  /** The cookie's new value, if it is time for one. */
  readonly renewed: string | null
}

export interface Sessions {
  /** The value of a new session's cookie. */
  begin(user: User): string
  /** The session of a cookie's value, or `null`. */
  find(value: string): FoundSession | null
  /** Ends a session, wherever its cookie is. */
  end(id: string): void
  /** A token that only the pages of `owner` (a session, or somebody whom a proxy names) contain. */
  tokenFor(owner: string): string
  isTokenOf(owner: string, token: string): boolean
}

/** Sessions that were ended by hand, and whose time is not over. */
const MOST_ENDED = 10_000

export function createSessions(
  secret: string | undefined,
  userOf: (name: string) => User | undefined,
  now: () => number = Date.now,
): Sessions {
  const key = secret ?? randomBytes(32)
  const ended = new Set<string>()
  const sign = (purpose: string, text: string): Buffer =>
    createHmac("sha256", key).update(`${purpose}\0${text}`).digest()
  const lineOf = ({ name, hash, role }: User): string =>
    sign("line", `${name}:${hash}:${role}`).toString("base64url").slice(0, 22)

  function signed(session: Session): string {
    const body = Buffer.from(JSON.stringify(session)).toString("base64url")
    return `${body}.${sign("session", body).toString("base64url")}`
  }

  return {
    begin: (user) =>
      signed({
        ...{ id: randomBytes(16).toString("base64url"), name: user.name, line: lineOf(user) },
        ...{ begunAt: now(), seenAt: now() },
      }),
    find(value) {
      const [body = "", signature = ""] = value.split(".")
      if (!isSame(sign("session", body), signature)) return null
      const session = JSON.parse(Buffer.from(body, "base64url").toString()) as Session
      const user = userOf(session.name)
      if (user === undefined || session.line !== lineOf(user) || ended.has(session.id)) return null
      if (now() - session.seenAt > IDLE_MS || now() - session.begunAt > LONGEST_MS) return null
      const isOld = now() - session.seenAt > RENEW_MS
      return { id: session.id, user, renewed: isOld ? signed({ ...session, seenAt: now() }) : null }
    },
    end(id) {
      if (ended.size >= MOST_ENDED) ended.delete(ended.values().next().value!)
      ended.add(id)
    },
    tokenFor: (owner) => sign("form", owner).toString("base64url"),
    isTokenOf: (owner, token) => isSame(sign("form", owner), token),
  }
}

function isSame(expected: Buffer, given: string): boolean {
  const bytes = Buffer.from(given, "base64url")
  return bytes.length === expected.length && timingSafeEqual(bytes, expected)
}
