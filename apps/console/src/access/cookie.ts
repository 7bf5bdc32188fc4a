/** The cookie of a session. */
import { LONGEST_MS } from "./sessions.ts"

/** With TLS, the browser itself ensures that the cookie was set by exactly this host, over TLS. */
const nameOf = (secure: boolean): string => (secure ? "__Host-unseal" : "unseal")

/** The value of our cookie in the header `Cookie`, if there is exactly one. */
export function cookieIn(header: string | undefined, secure: boolean): string | undefined {
  const prefix = `${nameOf(secure)}=`
  const [found, ...others] = (header ?? "").split(/;\s*/).filter((pair) => pair.startsWith(prefix))
  return others.length === 0 ? found?.slice(prefix.length) : undefined
}

/** `Set-Cookie` for a session's value, or for none. Scripts can't read it, and no other site's page can make a browser send it. */
export const setCookie = (value: string | null, secure: boolean): string =>
  [
    `${nameOf(secure)}=${value ?? ""}`,
    ...["Path=/", "HttpOnly", "SameSite=Strict", `Max-Age=${value === null ? 0 : LONGEST_MS / 1_000}`],
    ...(secure ? ["Secure"] : []),
  ].join("; ")
