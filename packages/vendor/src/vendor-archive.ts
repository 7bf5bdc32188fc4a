import { z } from "zod"
import { callbackSchema } from "./callback.ts"

/** An archive as the vendor's REST API describes it, as far as it matters here. */
export interface VendorArchive {
  /** A UUID in lower case. */
  readonly archiveId: string
  /** `started`, `stopped`, `uploaded`, `available`, …; more may come. */
  readonly status: string
  /** Base64; absent if the archive is not encrypted, or not yet stored. */
  readonly encryptedPassword?: string
  /** Of the copy in the vendor's storage, valid for ten minutes; only while `available`. */
  readonly url?: string
  /** Bytes. */
  readonly size?: number
  /** Base64. */
  readonly sha256sum?: string
  /** Milliseconds since 1970. Not the callback's to the millisecond: never compare the two. */
  readonly createdAt?: number
  /** Of the form of the project that was asked for (digits, UUID), in lower case. */
  readonly projectId?: string
}

/** The same fields as in a callback, which has the same schema, and two that only matter here. */
const archiveSchema = callbackSchema.extend({
  url: z.string().max(8_192).nullish(),
  createdAt: z.number().nonnegative().nullish(),
})

/** The wrapping of a list; `count`, which the vendor adds, is not relied on. */
export const archiveListSchema = z.object({ items: z.array(z.unknown()) })

/** Understands `json` as an archive of `projectId`. Throws zod's error, which quotes no value. Unknown fields are dropped. */
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
