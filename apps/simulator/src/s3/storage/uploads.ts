import { createHash, randomBytes } from "node:crypto"
import { type ChecksumAlgorithm, type ChecksumType, objectChecksum } from "../body/checksums.ts"
import { S3Error } from "../http/s3-error.ts"
import { compareKeys } from "./key-index.ts"
import type { ObjectFiles, StoredFile } from "./object-files.ts"
import { type EtagForm, type ObjectVersion, randomEtag } from "./object-store.ts"

/** S3's limits (user guide, "Amazon S3 multipart upload limits"). */
const MIN_PART_BYTES = 5 * 1024 * 1024
export const MAX_PART_NUMBER = 10_000

export interface UploadedPart {
  readonly number: number
  readonly file: StoredFile
  /** Quoted. */
  readonly etag: string
  readonly md5?: Buffer
  readonly checksum?: Buffer
  readonly lastModified: Date
}

export interface Upload {
  readonly id: string
  readonly bucket: string
  readonly key: string
  readonly initiated: Date
  readonly headers: Readonly<Record<string, string>>
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType }
  readonly parts: Map<number, UploadedPart>
}

/** A part as the client names it in Complete. `checksums` are the values it gives, base64, by algorithm. */
export interface NamedPart {
  readonly number: number
  readonly etag: string
  readonly checksums: Readonly<Partial<Record<ChecksumAlgorithm, string>>>
}

/** Multipart uploads that are neither completed nor aborted. */
export class MultipartUploads {
  readonly #uploads = new Map<string, Upload>()
  readonly #files: ObjectFiles
  #begun = 0

  constructor(files: ObjectFiles) {
    this.#files = files
  }

  /** Ids sort by age, so that a listing can continue after an upload that no longer exists. */
  begin(upload: Omit<Upload, "id" | "initiated" | "parts">): Upload {
    const id = `${(++this.#begun).toString(36).padStart(8, "0")}${randomBytes(24).toString("hex")}`
    const begun = { ...upload, id, initiated: new Date(), parts: new Map() }
    this.#uploads.set(id, begun)
    return begun
  }

  open(bucket: string, key: string, id: string): Upload {
    const upload = this.#uploads.get(id)
    if (upload?.bucket !== bucket || upload.key !== key)
      throw new S3Error("NoSuchUpload", undefined, { UploadId: id })
    return upload
  }

  /** The uploads of `bucket` (or all), by key and then by age. */
  list(bucket?: string): Upload[] {
    return [...this.#uploads.values()]
      .filter((upload) => bucket === undefined || upload.bucket === bucket)
      .sort((a, b) => compareKeys(a.key, b.key) || compareKeys(a.id, b.id))
  }

  /** Adds a received part, unless the upload has ended in the meantime. */
  async add(upload: Upload, part: UploadedPart): Promise<void> {
    if (!this.#uploads.has(upload.id)) {
      await this.#files.remove([part.file])
      throw new S3Error("NoSuchUpload", undefined, { UploadId: upload.id })
    }
    const before = upload.parts.get(part.number)
    upload.parts.set(part.number, part)
    if (before) await this.#files.remove([before.file])
  }

  /** Ends the upload. The files of the parts in `kept` live on in an object. */
  async end(upload: Upload, kept: readonly UploadedPart[] = []): Promise<void> {
    this.#uploads.delete(upload.id)
    const files = new Set(kept.map((part) => part.file))
    await this.#files.remove([...upload.parts.values()].map((part) => part.file).filter((f) => !files.has(f)))
  }
}

/** The parts of the object, if the parts that the client names match those that the server holds. Throws `S3Error`. */
export function chooseParts(upload: Upload, named: readonly NamedPart[]): readonly UploadedPart[] {
  const disordered = named.some((part, i) => i > 0 && part.number <= named[i - 1]!.number)
  if (disordered) throw new S3Error("InvalidPartOrder", undefined, { UploadId: upload.id })
  const chosen = named.map((part) => choosePart(upload, part))
  const small = chosen.slice(0, -1).find((part) => part.file.size < MIN_PART_BYTES)
  if (small)
    throw new S3Error("EntityTooSmall", undefined, {
      ProposedSize: small.file.size,
      MinSizeAllowed: MIN_PART_BYTES,
      PartNumber: small.number,
      ETag: unquote(small.etag),
    })
  return chosen
}

function choosePart(upload: Upload, named: NamedPart): UploadedPart {
  const part = upload.parts.get(named.number)
  const invalid = new S3Error("InvalidPart", undefined, {
    UploadId: upload.id,
    PartNumber: named.number,
    ETag: unquote(named.etag),
  })
  if (!part || unquote(named.etag) !== unquote(part.etag)) throw invalid
  const { checksum } = upload
  for (const [algorithm, value] of Object.entries(named.checksums))
    if (algorithm !== checksum?.algorithm || value !== part.checksum?.toString("base64")) throw invalid
  if (checksum?.type === "COMPOSITE" && named.checksums[checksum.algorithm] === undefined)
    throw new S3Error(
      "InvalidRequest",
      `The upload was created using a ${checksum.algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${named.number} in the request.`,
    )
  return part
}

/** Assembles an object from `parts`. Its ETag is the MD5 of the parts' MD5s, plus their number. */
export function assemble(upload: Upload, parts: readonly UploadedPart[], etags: EtagForm): ObjectVersion {
  const suffix = `-${parts.length}`
  return {
    key: upload.key,
    size: parts.reduce((size, part) => size + part.file.size, 0),
    etag: etags !== "md5" ? randomEtag(etags, suffix) : `"${md5Of(parts.map((part) => part.md5!))}${suffix}"`,
    lastModified: new Date(),
    headers: upload.headers,
    ...(upload.checksum && {
      checksum: {
        ...upload.checksum,
        value: objectChecksum(
          upload.checksum.algorithm,
          upload.checksum.type,
          parts.map((part) => ({ size: part.file.size, checksum: part.checksum! })),
        ),
      },
    }),
    files: parts.map((part) => part.file),
  }
}

const md5Of = (digests: readonly Buffer[]): string =>
  createHash("md5").update(Buffer.concat(digests)).digest("hex")

export const unquote = (etag: string): string => etag.replace(/^"(.*)"$/, "$1")
