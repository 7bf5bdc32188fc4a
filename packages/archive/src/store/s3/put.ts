import type { CreateOptions, PartWriter, StoredObject, WrittenPart } from "../contract.ts"
import { keyUnder } from "../identity.ts"
import { checkCrc32, checkLength, checkParts, partBytes } from "../part-checks.ts"
import { base64Crc32, CRC32_HEADER, sendBody } from "./bodies.ts"
import type { S3Capabilities } from "./capabilities.ts"
import { type CommitForm, commitObject, metadataHeaders, refusesCondition } from "./commit.ts"
import { bareEtag, type S3Bucket, whereIn } from "./connection/client.ts"
import { statusOf } from "./facts.ts"
import { exhaust } from "./object-requests.ts"

/** The token of an object without a multipart upload. Resuming starts over. */
export const SINGLE_TOKEN = "single"

/** Writes an object of one part or none with one PutObject. It is atomic, and saves three requests and an upload to clean up. */
export function putWriter(
  bucket: S3Bucket,
  key: string,
  size: number,
  partSize: number,
  options: CreateOptions,
): PartWriter {
  const { capabilities } = bucket
  const where = whereIn(bucket, key)
  let held: HeldPart | undefined

  return {
    token: SINGLE_TOKEN,
    resumable: false,
    keepsBodies: true,
    partSize,
    async written(signal) {
      signal.throwIfAborted()
      return new Map(held ? [[1, held.part]] : [])
    },
    async writePart(number, body, crc32, signal) {
      signal.throwIfAborted()
      const label = `part ${number} of ${where}`
      checkLength(body, partBytes(number, size, partSize), label)
      if (!capabilities.verifies("PutObject")) checkCrc32(body, crc32, label)
      const part = { size, tag: base64Crc32(crc32) }
      held = { bytes: body, part, crc32 }
      return part
    },
    async complete(parts, signal) {
      checkParts(parts, size, partSize)
      const body = held ?? { bytes: [], part: { size: 0, tag: base64Crc32(0) }, crc32: 0 }
      if (size > 0 && parts.get(1)?.tag !== body.part.tag)
        throw new RangeError(`part 1 of ${where} was not written by this writer`)
      const send = (form: CommitForm) => {
        // The store refused the condition, so this is a second request without it.
        if (options.existing === "fail" && !form.condition) capabilities.conditionalPut = "ignored"
        return putObject(bucket, key, body, options, form, signal)
      }
      const { object, sent } = await commitObject(
        bucket,
        {
          ...{ key, size, options, send },
          operation: "PutObject",
          form: { condition: true, checksums: false },
          heedsCondition: capabilities.conditionalPut === "heeded",
        },
        signal,
      )
      return sent && isWorthTrying(capabilities, size, options)
        ? tryCondition(capabilities, object, send)
        : object
    },
    async abort() {
      held = undefined
    },
  }
}

interface HeldPart {
  readonly bytes: readonly Uint8Array[]
  /** The tag is the checksum in the header's form. */
  readonly part: WrittenPart
  readonly crc32: number
}

async function putObject(
  bucket: S3Bucket,
  key: string,
  { bytes, crc32 }: HeldPart,
  options: CreateOptions,
  form: CommitForm,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { headers, body } = await sendBody(
    bucket,
    {
      ...{ method: "PUT", crc32, label: whereIn(bucket, key), onSent: options.moved },
      key: keyUnder(bucket.prefix, key),
      headers: {
        "content-type": options.contentType,
        ...(form.condition ? { "if-none-match": "*" } : {}),
        ...metadataHeaders(options.metadata),
      },
      body: bytes,
    },
    signal,
  )
  await exhaust(body)
  bucket.capabilities.noteChecksum("PutObject", headers[CRC32_HEADER])
  return headers.etag
}

/** Only small objects, such as records, are written twice to find something out. */
const LARGEST_TRIED = 64 * 1024

const isWorthTrying = (capabilities: S3Capabilities, size: number, { existing }: CreateOptions): boolean =>
  existing === "fail" &&
  ++capabilities.conditionalPuts > 1 &&
  size <= LARGEST_TRIED &&
  capabilities.conditionalPut === "unknown"

/**
 * Writes the existing `object` again, on the condition that it does not exist. A store that honours the condition refuses, and
 * from then on needs no look before each object. Any other store writes the same bytes again, as the returned version.
 */
async function tryCondition(
  capabilities: S3Capabilities,
  object: StoredObject,
  send: (form: CommitForm) => Promise<string | undefined>,
): Promise<StoredObject> {
  capabilities.conditionalPut = "being tried"
  try {
    const etag = bareEtag(await send({ condition: true, checksums: false }))
    capabilities.conditionalPut = "ignored"
    return etag ? { ...object, etag } : object
  } catch (error) {
    // A store that does not know the condition says so each time. Any other error proves nothing.
    const otherwise = refusesCondition(error) ? "ignored" : "unknown"
    capabilities.conditionalPut = statusOf(error) === 412 ? "heeded" : otherwise
    return object
  }
}
