import type { ArchiveStore } from "@unseal/archive/store/contract"

export interface StoreUnderTest {
  /** Opened with `minimumPartSize` as its preferred part size. */
  readonly store: ArchiveStore
  /** A new instance on the same bucket, container or directory, like another process's. */
  reopen(): Promise<ArchiveStore>
  /** Stores or replaces an object without the adapter. */
  put(key: string, bytes: Uint8Array, metadata?: Readonly<Record<string, string>>): Promise<void>
  /** The visible content of `key`, read without the adapter. */
  get(key: string): Promise<Uint8Array | null>
  remove(key: string): Promise<void>
  openUploadCount(): Promise<number>
  /** A multiple of 752. */
  readonly minimumPartSize: number
  /** A store whose bucket, container or directory does not exist. */
  readonly missing: ArchiveStore
  /** A store whose credentials or permissions are refused. */
  readonly denied?: ArchiveStore | undefined
  /** A store at an address where nothing listens. */
  readonly unreachable?: ArchiveStore | undefined
  close(): Promise<void>
}

/** What a kind of store does not have: credentials to refuse, a network to be cut off from, or a commit that only one of two wins. */
export type Lack = "denied" | "unreachable" | "conditional commit"
