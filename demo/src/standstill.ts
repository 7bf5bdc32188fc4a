/** Finds out why nothing moves: it keeps what the processes say, one sentence for each code. */
import type { LogLine } from "@unseal/test/harness/process"

/** Longer than any wait of the demo: a killed worker's lock, a retried request, a store's Retry-After. */
const STANDSTILL_MS = 75_000

export interface Standstill {
  /** Keeps a log line's account of the trouble, if it has one. */
  note(line: LogLine): void
  /** The matching account of a process, with its remedy. */
  said(sentence: RegExp): string | null
  /** Takes the current progress. Once nothing has moved for too long, says why, with the remedy. */
  whyStill(state: string): string | null
}

interface Trouble {
  readonly reason: string
  readonly remedy: string
}

const worded = ({ reason, remedy }: Trouble): string => `  ${reason}\n    ${remedy}`

export function createStandstill(now: () => number = Date.now): Standstill {
  /** By code, the latest last. */
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
