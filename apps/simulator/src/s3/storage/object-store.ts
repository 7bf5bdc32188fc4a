import { randomBytes } from "node:crypto"
import type { ChecksumAlgorithm, ChecksumType } from "../body/checksums.ts"
import { S3Error } from "../http/s3-error.ts"
import { KeyIndex } from "./key-index.ts"
import type { ObjectFiles, StoredFile } from "./object-files.ts"

export interface ObjectChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  /** Base64, with the suffix `-N` if composite. */
  readonly value: string
}

/** One version of an object. It is immutable; replacing the object makes another. */
export interface ObjectVersion {
  readonly key: string
  readonly size: number
  /** Quoted, as sent. */
  readonly etag: string
  readonly lastModified: Date
  /** Headers returned unchanged with the object: content type, user metadata and the like. */
  readonly headers: Readonly<Record<string, string>>
  readonly checksum?: ObjectChecksum
  readonly files: readonly StoredFile[]
}

export interface Bucket {
  readonly name: string
  readonly createdAt: Date
  readonly objects: Map<string, ObjectVersion>
  readonly keys: KeyIndex
}

/** Buckets, and each key's current version, in memory. The bytes are in `files`. */
export class ObjectStore {
  readonly buckets = new Map<string, Bucket>()
  readonly files: ObjectFiles
  /** How many replies are reading each version; versions without readers are absent. */
  readonly #readers = new Map<ObjectVersion, number>()
  /** Replaced or deleted versions that are still being read. */
  readonly #outdated = new Set<ObjectVersion>()

  constructor(files: ObjectFiles) {
    this.files = files
  }

  createBucket(name: string): void {
    if (!/^(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]$/.test(name) || name.includes(".."))
      throw new S3Error("InvalidBucketName")
    this.buckets.set(name, { name, createdAt: new Date(), objects: new Map(), keys: new KeyIndex() })
  }

  bucket(name: string): Bucket {
    const bucket = this.buckets.get(name)
    if (!bucket) throw new S3Error("NoSuchBucket", undefined, { BucketName: name })
    return bucket
  }

  object(bucket: string, key: string): ObjectVersion {
    const version = this.bucket(bucket).objects.get(key)
    if (!version) throw new S3Error("NoSuchKey", undefined, { Key: key })
    return version
  }

  /** Makes `version` the current one of its key. */
  async put(bucketName: string, version: ObjectVersion): Promise<void> {
    const bucket = this.bucket(bucketName)
    const before = bucket.objects.get(version.key)
    bucket.objects.set(version.key, version)
    if (before) await this.#retire(before)
    else bucket.keys.add(version.key)
  }

  async delete(bucketName: string, key: string): Promise<void> {
    const bucket = this.bucket(bucketName)
    const before = bucket.objects.get(key)
    if (!before) return
    bucket.objects.delete(key)
    bucket.keys.delete(key)
    await this.#retire(before)
  }

  /** Keeps the bytes of `version`, even if it is replaced or deleted, until the returned function is called. */
  retain(version: ObjectVersion): () => Promise<void> {
    this.#readers.set(version, (this.#readers.get(version) ?? 0) + 1)
    return async () => {
      const others = this.#readers.get(version)! - 1
      if (others > 0) this.#readers.set(version, others)
      else {
        this.#readers.delete(version)
        if (this.#outdated.delete(version)) await this.files.remove(version.files)
      }
    }
  }

  async #retire(version: ObjectVersion): Promise<void> {
    if (this.#readers.has(version)) this.#outdated.add(version)
    else await this.files.remove(version.files)
  }
}

/** The form of ETags: the content's MD5, or random bytes as 32 or 200 digits, which are cheaper. */
export type EtagForm = "md5" | "random" | "long"

/** A quoted ETag independent of the content, for when MD5 is not needed. */
export const randomEtag = (form: "random" | "long", suffix = ""): string =>
  `"${randomBytes(form === "long" ? 100 : 16).toString("hex")}${suffix}"`
