import type {
  Checkpoint,
  CheckpointLog,
  CheckpointUpload,
  PartReceipt,
} from "@unseal/archive/decrypt/checkpoint"

/** A checkpoint in memory for runs of one archive. The next run loads `now`. */
export function memoryCheckpoint(): CheckpointLog & { now: Checkpoint | null } {
  const log = {
    now: null as Checkpoint | null,
    load: async () => log.now,
    async begin(upload: CheckpointUpload) {
      log.now = { upload, parts: new Map() }
    },
    async part(number: number, receipt: PartReceipt) {
      ;(log.now!.parts as Map<number, PartReceipt>).set(number, receipt)
    },
    async seal(sealed: unknown) {
      log.now = { parts: new Map(), ...log.now, record: JSON.parse(JSON.stringify(sealed)) }
    },
    async clear() {
      log.now = null
    },
    notes: async (token: string) => log.now?.upload?.token === token,
    hasRivals: async () => false,
  }
  return log
}
