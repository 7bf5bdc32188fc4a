/** Checks names and passwords, no faster than a person types. */
import { type Cost, hashPassword, isPasswordOf } from "@unseal/service/password-hash"
import { createThrottle } from "./throttle.ts"
import type { User } from "./users.ts"

export type SignIn =
  | { readonly kind: "signed-in"; readonly user: User }
  | { readonly kind: "wrong" }
  /** Too many failures: attempts before that time are refused unchecked. */
  | { readonly kind: "later"; readonly waitMs: number }
  /** Too many passwords are being checked right now. */
  | { readonly kind: "busy" }

const WINDOW_MS = 10 * 60_000
/** Of one address. */
const ADDRESS_FAILURES = 10
/** Of one name, from all addresses: higher, so that a stranger needs several addresses to keep its owner out for ten minutes. */
const NAME_FAILURES = 30
/** A check takes 32 MiB and a quarter of a second of a core, so they go one after the other. */
const MOST_WAITING = 8
const LONGEST_PASSWORD = 1_024

export interface SignInDesk {
  /** `address` is the sender's. */
  signIn(name: string, password: string, address: string | undefined): Promise<SignIn>
}

export function createSignInDesk(
  userOf: (name: string) => User | undefined,
  { now, cost }: { readonly now?: (() => number) | undefined; readonly cost?: Cost } = {},
): SignInDesk {
  const addresses = createThrottle({ failures: ADDRESS_FAILURES, windowMs: WINDOW_MS }, now)
  const names = createThrottle({ failures: NAME_FAILURES, windowMs: WINDOW_MS }, now)
  let waiting = 0
  let line: Promise<unknown> = Promise.resolve()
  /** For names that don't exist, which must take as long to refuse as others. */
  let nobody: Promise<string> | undefined

  async function check(user: User | undefined, password: string): Promise<boolean> {
    nobody ??= hashPassword(Buffer.from("a password that nobody has"), cost)
    const isRight = await isPasswordOf(user?.hash ?? (await nobody), Buffer.from(password.normalize("NFC")))
    return isRight && user !== undefined
  }

  return {
    async signIn(name, password, address = "unknown") {
      const user = userOf(name)
      // A name that nobody has is not counted: there could be any number of them.
      const waitMs = Math.max(addresses.waitMs(address), user ? names.waitMs(name) : 0)
      if (waitMs > 0) return { kind: "later", waitMs }
      if (waiting >= MOST_WAITING) return { kind: "busy" }
      waiting++
      // Counted before the result is known, so that many attempts at once can't get around the limit.
      addresses.failed(address)
      if (user) names.failed(name)
      const checking = line.then(() => check(user, password.slice(0, LONGEST_PASSWORD)))
      line = checking.catch(() => {})
      try {
        if (!(await checking) || user === undefined) return { kind: "wrong" }
        addresses.forget(address)
        names.forget(name)
        return { kind: "signed-in", user }
      } finally {
        waiting--
      }
    },
  }
}
