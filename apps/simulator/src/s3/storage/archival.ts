import type { ObjectVersion } from "./object-store.ts"

/** S3's classes whose objects must be restored before they can be read, and the archive tiers of Intelligent-Tiering. */
export type ArchivalClass =
  | "GLACIER"
  | "DEEP_ARCHIVE"
  | "INTELLIGENT_TIERING ARCHIVE_ACCESS"
  | "INTELLIGENT_TIERING DEEP_ARCHIVE_ACCESS"

/** Milliseconds since the epoch. */
interface Restore {
  readableAt: number
  /** A copy disappears then. What comes back from an archive tier stays. */
  readonly expiresAt: number
}

/** Which objects are archived, and the state of the requests to restore them. */
export class Archives {
  /** How long each restore takes that begins from now on. Infinity: until `finish`. */
  delayMs: number
  /** How long a day of a restored copy lasts. */
  dayMs = 86_400_000
  readonly #moved = new WeakMap<ObjectVersion, ArchivalClass>()
  readonly #restores = new Map<ObjectVersion, Restore>()

  constructor(delayMs: number) {
    this.delayMs = delayMs
  }

  /** Moves `version` to `storageClass`, as a lifecycle rule does. */
  move(version: ObjectVersion, storageClass: ArchivalClass): void {
    this.#moved.set(version, storageClass)
    this.#restores.delete(version)
  }

  /** `null` if the object was never archived. */
  classOf(version: ObjectVersion): ArchivalClass | null {
    const named = version.headers["x-amz-storage-class"]
    return this.#moved.get(version) ?? (named === "GLACIER" || named === "DEEP_ARCHIVE" ? named : null)
  }

  stateOf(version: ObjectVersion): "readable" | "archived" | "restoring" | "restored" {
    const archivalClass = this.classOf(version)
    if (archivalClass === null) return "readable"
    const restore = this.#restores.get(version)
    const now = Date.now()
    if (restore === undefined || restore.expiresAt <= now) return "archived"
    if (restore.readableAt > now) return "restoring"
    return archivalClass.includes(" ") ? "readable" : "restored"
  }

  /** Begins a restore. If there is a restored copy, its days begin anew. */
  restore(version: ObjectVersion, days: number): void {
    const readableAt = this.stateOf(version) === "restored" ? Date.now() : Date.now() + this.delayMs
    const start = Number.isFinite(readableAt) ? readableAt : Date.now()
    this.#restores.set(version, { readableAt, expiresAt: start + days * this.dayMs })
  }

  /** Ends every restore that is under way. */
  finish(): void {
    for (const restore of this.#restores.values())
      restore.readableAt = Math.min(restore.readableAt, Date.now())
  }

  /** The headers that state the class of `version` in a response. */
  headersOf(version: ObjectVersion): Record<string, string> {
    const archivalClass = this.classOf(version)
    if (archivalClass === null) return {}
    const [storageClass, tier] = archivalClass.split(" ") as [string, string?]
    const state = this.stateOf(version)
    const expiry = new Date(this.#restores.get(version)?.expiresAt ?? 0).toUTCString()
    return {
      "x-amz-storage-class": storageClass,
      ...(tier !== undefined && state !== "readable" && { "x-amz-archive-status": tier }),
      ...(state === "restoring" && { "x-amz-restore": 'ongoing-request="true"' }),
      ...(state === "restored" && { "x-amz-restore": `ongoing-request="false", expiry-date="${expiry}"` }),
    }
  }
}
