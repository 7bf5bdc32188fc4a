/** What the installed package offers: decrypt an archive from one store into another, and the parts that this takes. */

export { type DecryptResult, decryptArchive } from "./decrypt/archive.ts"
export { type ByteBudget, createByteBudget, type PartMemory } from "./decrypt/budget.ts"
export type { ArchiveRequest, DecryptOptions } from "./decrypt/request.ts"
export { ERROR_CODES, type ErrorCode, isUnsealError, UnsealError } from "./errors.ts"
export type { ContentKey } from "./format/envelope.ts"
export {
  createKeyRing,
  type KeyDescription,
  type KeyRing,
  keyIdOf,
  type PrivateKey,
  parsePrivateKey,
  type UnwrappedPassword,
} from "./format/key-ring.ts"
export type { ByteRange } from "./format/parts.ts"
export { decodeEncryptedPassword, type OaepHash, parsePassword, wipe } from "./format/password.ts"
export type { TailRule } from "./format/tail.ts"
export type { OpenedKeyRing } from "./keys/contract.ts"
export { type OpenKeyRingOptions, openKeyRing } from "./keys/open.ts"
export type { ArchiveRecord } from "./record/record.ts"
export type {
  ArchiveSink,
  ArchiveSource,
  ArchiveStore,
  OpenedObject,
  OpenedStore,
  PartWriter,
  StoredObject,
  WrittenPart,
} from "./store/contract.ts"
export { type HttpsStoreOptions, openHttpsStore } from "./store/https/source.ts"
export { type OpenStoreOptions, openStore } from "./store/open.ts"
export { parseStoreUrl, type StoreUrl, StoreUrlError, splitObjectUrl } from "./store/url.ts"
export { version } from "./version.ts"
