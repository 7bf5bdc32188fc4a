/** Who asks, and what they may do. */
import type { IncomingMessage } from "node:http"
import type { Networks } from "@unseal/service/http/networks"
import { peerOf } from "@unseal/service/http/networks"
import { cookieIn } from "./cookie.ts"
import type { FoundSession, Sessions } from "./sessions.ts"
import type { Role } from "./users.ts"

export interface Visitor {
  readonly name: string
  readonly role: Role
  /** Whether actions are permitted: to operators, and only where the console permits any. */
  readonly mayAct: boolean
  /** What the visitor's forms contain. */
  readonly token: string
  /** `null` for somebody whom a proxy names, who can't sign out here. */
  readonly session: FoundSession | null
}

/** A proxy that says who somebody is. */
export interface NamingProxy {
  /** In lower case. */
  readonly header: string
  readonly networks: Networks
  /** The names that are operators; `*` for all. */
  readonly operators: readonly string[]
}

export interface Visitors {
  /** The visitor of a request, or `null` if nobody has signed in. */
  of(request: IncomingMessage, secure: boolean): Visitor | null
  /** Whether `token` is from one of the visitor's pages. */
  isTokenOf(visitor: Visitor, token: string): boolean
}

export function createVisitors(options: {
  readonly sessions: Sessions
  readonly proxy?: NamingProxy | undefined
  /** Whether the console permits actions. */
  readonly permitsActions: boolean
}): Visitors {
  const { sessions, proxy, permitsActions } = options

  const ownerOf = ({ name, session }: Pick<Visitor, "name" | "session">): string =>
    session === null ? `proxy ${name}` : `session ${session.id}`

  function visitor(name: string, role: Role, session: FoundSession | null): Visitor {
    const token = sessions.tokenFor(ownerOf({ name, session }))
    return { name, role, mayAct: permitsActions && role === "operator", token, session }
  }

  return {
    of(request, secure) {
      const named = proxy && nameFrom(request, proxy)
      if (named !== undefined) {
        const isOperator = proxy?.operators.some((name) => name === "*" || name === named)
        return visitor(named, isOperator ? "operator" : "reader", null)
      }
      const value = cookieIn(request.headers.cookie, secure)
      const session = value === undefined ? null : sessions.find(value)
      return session && visitor(session.user.name, session.user.role, session)
    },
    isTokenOf: (visitor, token) => sessions.isTokenOf(ownerOf(visitor), token),
  }
}

/** The name in the proxy's header. Anybody else could write that header too, so it is accepted only from the proxy's networks. */
function nameFrom(request: IncomingMessage, { header, networks }: NamingProxy): string | undefined {
  if (!networks.has(peerOf(request.socket).address)) return undefined
  const [name, ...others] = request.headersDistinct[header] ?? []
  return others.length === 0 && name !== undefined && /^[\x21-\x7e]{1,128}$/.test(name) ? name : undefined
}
