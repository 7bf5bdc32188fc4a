import { z } from "zod"
import { callbackSchema } from "./callback.ts"

/** An archive in the vendor's REST API, limited to what Unseal uses. */
export interface VendorArchive {
  /** A UUID in lower case. */
  readonly archiveId: string
  /** `started`, `stopped`, `uploaded`, `available`, …; the vendor may add others. */
  readonly status: string
  /** Base64; absent if the archive is not encrypted, or not yet stored. */
  readonly encryptedPassword?: string
  /** The URL of the copy in the vendor's storage, valid for ten minutes. Present only while `available`. */
  readonly url?: string
  /** Bytes. */
  readonly size?: number
  /** Base64. */
  readonly sha256sum?: string
  /** Milliseconds since 1970. It differs from the callback's in the milliseconds, so never compare the two. */
  readonly createdAt?: number
  /** In the form of the requested project (digits or UUID), in lower case. */
  readonly projectId?: string
}

/** The callback's fields with the callback's schema, plus two that only matter here. */
const archiveSchema = callbackSchema.extend({
  url: z.string().max(8_192).nullish(),
  createdAt: z.number().nonnegative().nullish(),
})

/** The envelope of a list. The vendor also sends `count`, which is not relied on. */
export const archiveListSchema = z.object({ items: z.array(z.unknown()) })

/** Parses `json` as an archive of `projectId`. Throws zod's error, which quotes no value. Unknown fields are dropped. */
export function parseVendorArchive(json: unknown, projectId: string): VendorArchive {
  const { id, status, password, url, size, sha256sum, createdAt, ...projects } = archiveSchema.parse(json)
  const isNumber = (text: string) => /^\d+$/.test(text)
  const named = [projects.partnerId, projects.projectId, projects.applicationId].find(
    (name) => name && isNumber(name) === isNumber(projectId),
  )
  return {
    archiveId: id,
    status,
    ...(password ? { encryptedPassword: password } : {}),
    ...(url ? { url } : {}),
    ...(typeof size === "number" ? { size } : {}),
    ...(sha256sum ? { sha256sum } : {}),
    ...(typeof createdAt === "number" ? { createdAt } : {}),
    ...(named ? { projectId: named } : {}),
  }
}
