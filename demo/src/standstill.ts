/** Why nothing moves: what the processes themselves have said, one sentence for each code. */
import type { LogLine } from "@unseal/test/harness/process"

/** Longer than any wait of the demo: a killed worker's lock, a request that is sent again, a store's Retry-After. */
const STANDSTILL_MS = 75_000

export interface Standstill {
  /** Keeps what a line of a process says of its trouble. */
  note(line: LogLine): void
  /** What the processes have said that fits, with what to do. */
  said(sentence: RegExp): string | null
  /** Told what is done so far; says why nothing moves once nothing has for too long, with what to do. */
  whyStill(state: string): string | null
}

interface Trouble {
  readonly reason: string
  readonly remedy: string
}

const worded = ({ reason, remedy }: Trouble): string => `  ${reason}\n    ${remedy}`

export function createStandstill(now: () => number = Date.now): Standstill {
  /** By code, the newest last. */
  const troubles = new Map<string, Trouble>()
  let last = ""
  let since = now()

  return {
    note(line) {
      const { code, reason, remedy, err, msg } = line
      if (typeof code === "string" && typeof reason === "string" && typeof remedy === "string") {
        troubles.delete(code)
        troubles.set(code, { reason: reason.startsWith(code) ? reason : `${code}: ${reason}`, remedy })
      } else if (msg === "archive could not be uploaded") {
        const { message = "unknown" } = (err ?? {}) as { message?: string }
        troubles.set("recording", {
          reason: `the simulated vendor could not upload an archive: ${message}`,
          remedy:
            "the store refuses the vendor too, so there is nothing to decrypt: exempt the vendor's credential, or choose another quirk",
        })
      }
    },
    said(sentence) {
      const found = [...troubles.values()].find(({ reason }) => sentence.test(reason))
      return found ? worded(found) : null
    },
    whyStill(state) {
      if (state !== last) {
        last = state
        since = now()
      }
      if (troubles.size === 0 || now() - since < STANDSTILL_MS) return null
      return [...troubles.values()].map(worded).join("\n")
    },
  }
}
