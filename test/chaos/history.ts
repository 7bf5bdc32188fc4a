/** What happened, in order: enough to find out afterwards why an invariant did not hold. */
import { writeFileSync } from "node:fs"
import type { Operation } from "@unseal/simulator/s3/faults/log"

export type Happening =
  /** A fault was injected. */
  | { readonly kind: "fault"; readonly what: string; readonly process?: string }
  | {
      readonly kind: "callback"
      readonly archiveId: string
      readonly ingest: string
      readonly outcome: string
      readonly attempts: readonly (number | null)[]
      readonly ms: number
    }
  /** A process passed a step of the commit protocol. */
  | { readonly kind: "step"; readonly process: string; readonly step: string; readonly jobId: string }
  | { readonly kind: "process"; readonly process: string; readonly what: string }
  | { readonly kind: "store"; readonly operation: Operation }
  | { readonly kind: "version"; readonly key: string; readonly sha256: string; readonly size: number }

export type Entry = Happening & { readonly at: number }

export interface History {
  readonly entries: readonly Entry[]
  add(happening: Happening): void
  /** Writes one JSON object per line. */
  write(path: string): void
}

export function createHistory(): History {
  const entries: Entry[] = []
  return {
    entries,
    add: (happening) => void entries.push({ at: Date.now(), ...happening }),
    write: (path) => writeFileSync(path, entries.map((entry) => `${JSON.stringify(entry)}\n`).join("")),
  }
}
