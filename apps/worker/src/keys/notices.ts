/** Logs what is wrong with a ring's keys, or odd about them: when it is opened, and whenever that has changed. */
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import type { Logger } from "@unseal/service/log/logger"

interface Told {
  readonly at: number
  readonly lines: ReadonlySet<string>
}

/**
 * Returns a function to call with a ring whenever it is used. It logs what the ring's last look at its keys has found for the first
 * time. A finding that is over may be logged again.
 */
export function createKeyNotices(logger: Pick<Logger, "warn" | "info">): (keyRing: OpenedKeyRing) => void {
  const told = new WeakMap<OpenedKeyRing, Told>()
  return (keyRing) => {
    const at = keyRing.lookedAt()
    const before = told.get(keyRing)
    if (before?.at === at) return
    const lines = new Set<string>()
    const isNew = (line: string) => !lines.has(line) && lines.add(line) && !before?.lines.has(line)
    const keys = keyRing.location
    for (const { name, error } of keyRing.problems())
      if (isNew(`${name}: ${error.message}`))
        logger.warn({ keys, file: name, err: error }, "key file can't be used")
    for (const { name, kind, message } of keyRing.notes())
      if (isNew(`${name}: ${message}`))
        logger[kind === "exposed" ? "warn" : "info"]({ keys, file: name }, message)
    told.set(keyRing, { at, lines })
  }
}
