/** Archives in a world's source store, and the expected end of each. */
import { randomUUID } from "node:crypto"
import type { ArchiveStore } from "@unseal/archive/store/contract"
import { writeSmallObject } from "@unseal/archive/store/small-object"
import { uploadArchive } from "@unseal/simulator/upload"
import { PROJECT } from "../settings.ts"
import type { Expected, Recorded, Studio } from "./recordings.ts"

/** An archive that the system was, or will be, told about. */
export interface Tracked {
  readonly projectId: string
  readonly archiveId: string
  readonly encryptedPassword: string
  /** Bytes. */
  readonly size: number
  readonly sourceKey: string
  readonly destinationKey: string
  readonly expected: Expected
}

/** The key of the record beside an archive's output. */
export const recordKeyOf = ({ destinationKey }: Tracked): string => destinationKey.replace(/\.ts$/, ".json")

export interface Archives {
  /** Describes `recorded`, whose object is not stored yet. */
  track(recorded: Omit<Recorded, "ciphertext">, expected?: Expected, projectId?: string): Tracked
  /** Stores an archive's object, over an existing one if there is one. */
  upload(key: string, ciphertext: Uint8Array): Promise<void>
  /** Records, stores and tracks an archive of about `size` bytes, in whole mebibytes. The default is the first project. */
  record(size: number, projectId?: string): Promise<Tracked>
  /** The same for a large archive, which is made while it is stored, to save memory. */
  recordLarge(size: number): Promise<Tracked>
}

/** Adds to `secrets` what the logs must not contain. */
export function createArchives(studio: Studio, source: ArchiveStore, secrets: Set<string>): Archives {
  const archives: Archives = {
    track({ archiveId, encryptedPassword, size, plaintext }, expected, projectId = PROJECT) {
      secrets.add(encryptedPassword)
      return {
        projectId,
        archiveId,
        encryptedPassword,
        size,
        sourceKey: `${projectId}/${archiveId}/archive.ts`,
        destinationKey: `plain/${projectId}/${archiveId}/archive.ts`,
        expected: expected ?? { output: new Set([plaintext]) },
      }
    },
    async upload(key, ciphertext) {
      await writeSmallObject(source, key, ciphertext, "video/mp2t", AbortSignal.timeout(300_000))
    },
    async record(size, projectId) {
      const recorded = studio.recordLike(size)
      const archive = archives.track(recorded, undefined, projectId)
      await archives.upload(archive.sourceKey, recorded.ciphertext)
      return archive
    },
    async recordLarge(size) {
      const { ciphertext, encryptedPassword, digests, ...recording } = studio.recordLarge(size)
      const archiveId = randomUUID()
      const sourceKey = `${PROJECT}/${archiveId}/archive.ts`
      const signal = AbortSignal.timeout(3_600_000)
      await uploadArchive(source, sourceKey, recording.size, ciphertext, signal)
      const { plaintext } = digests()
      return archives.track({ archiveId, encryptedPassword, size: recording.size, plaintext })
    },
  }
  return archives
}
