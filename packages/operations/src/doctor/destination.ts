/** Whether a worker may write to a destination: each request of an upload but the last, which would make something visible. */
import { crc32 } from "node:zlib"
import { isUnsealError } from "@unseal/archive/errors"
import type { ArchiveStore, PartWriter } from "@unseal/archive/store/contract"
import { type Finding, failed, failure, ok, warning } from "./check.ts"

/** The last part may be as small as that, so nothing else is sent. */
const LAST_PART = new Uint8Array(16)

/** The parts of a destination that the probe uses. */
export type ProbedDestination = Pick<ArchiveStore, "partSizeFor" | "create" | "openUploads" | "location">

const SILENT = "see why the store does not answer: its service, and this machine's way to it"

/**
 * Begins an upload of `key` in two parts, writes the last one (16 bytes), lists it, finds the upload, and aborts it. Nothing
 * becomes visible. An upload that could not be aborted is what the janitor removes.
 */
export async function probeUpload(
  store: ProbedDestination,
  key: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const size = store.partSizeFor(1) + LAST_PART.length
  const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  let writer: PartWriter
  try {
    writer = await store.create(key, size, options, signal)
  } catch (error) {
    return [failure(error, "store", SILENT)]
  }
  const findings: Finding[] = []
  try {
    await writer.writePart(2, [LAST_PART], crc32(LAST_PART), signal)
    const written = await writer.written(signal)
    if (written.get(2)?.size !== LAST_PART.length)
      findings.push(
        failed(
          `the store confirmed part 2 of an upload and lists ${written.size} parts without it`,
          "store",
          "find out what loses parts that the store has confirmed",
        ),
      )
    findings.push(...(await findUpload(store, key, signal)))
  } catch (error) {
    findings.push(failure(error, "store", SILENT))
  } finally {
    findings.push(...(await abort(writer)))
  }
  if (findings.length > 0) return findings
  return [ok("an upload was begun, a part of 16 bytes written and listed, the upload found and aborted")]
}

/** Workers look for uploads that earlier runs have left. Without the right to, the janitor removes them. */
async function findUpload(
  store: ProbedDestination,
  key: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  try {
    for await (const _ of store.openUploads(signal, key)) break
    return []
  } catch (error) {
    if (!isUnsealError(error, "ERR_STORE_DENIED")) throw error
    return [warning(`open uploads can't be listed: ${error.code}: ${error.message}`, "store", error.remedy)]
  }
}

async function abort(writer: PartWriter): Promise<readonly Finding[]> {
  try {
    await writer.abort()
    return []
  } catch (error) {
    if (!isUnsealError(error)) throw error
    const seen = `the upload could not be aborted, and its 16 bytes stay until the janitor can: ${error.code}: ${error.message}`
    return [warning(seen, "store", error.remedy)]
  }
}
