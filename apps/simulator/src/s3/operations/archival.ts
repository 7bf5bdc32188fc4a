import { announcedChecksum, receiveText } from "../body/payload.ts"
import type { Reply, S3Request, ServerState } from "../http/handler.ts"
import { S3Error } from "../http/s3-error.ts"
import { parseDocument } from "../http/xml.ts"

/** `RestoreObject`. Answers 202 to the first request, and 200 if there is a restored copy already. */
export async function restoreObject(request: S3Request, { store, archives }: ServerState): Promise<Reply> {
  const version = store.object(request.bucket, request.key)
  const wanted = readRestore(await receiveText(request, announcedChecksum(request)))
  const storageClass = archives.classOf(version)
  const state = archives.stateOf(version)
  if (storageClass === null || state === "readable")
    throw new S3Error("InvalidObjectState", "Restore is not allowed for the object's current storage class", {
      StorageClass: version.headers["x-amz-storage-class"] ?? "STANDARD",
    })
  if (state === "restoring") throw new S3Error("RestoreAlreadyInProgress")
  const isTiered = storageClass.includes(" ")
  if (isTiered !== (wanted.days === undefined)) throw new S3Error("MalformedXML")
  if (wanted.tier === "Expedited" && storageClass.includes("DEEP_ARCHIVE"))
    throw new S3Error("InvalidArgument", "Retrieval option is not supported by this storage class", {
      ArgumentName: "Tier",
      ArgumentValue: wanted.tier,
    })
  archives.restore(version, wanted.days ?? Number.POSITIVE_INFINITY)
  return { status: state === "restored" ? 200 : 202 }
}

function readRestore(text: string): { days: number | undefined; tier: string } {
  const { Days: days, GlacierJobParameters: parameters, Type: type } = parseDocument(text, "RestoreRequest")
  if (type !== undefined) throw new S3Error("NotImplemented", undefined, { ParameterName: "Type" })
  const { Tier: tier = "Standard" } = (parameters ?? {}) as { readonly Tier?: unknown }
  if (!["Standard", "Bulk", "Expedited"].includes(String(tier))) throw new S3Error("MalformedXML")
  if (days !== undefined && !/^[1-9]\d{0,8}$/.test(String(days))) throw new S3Error("MalformedXML")
  return { days: days === undefined ? undefined : Number(days), tier: String(tier) }
}
