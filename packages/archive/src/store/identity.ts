/** Which object it is: its name in the store, its version, and whether an upload of ours made it. */
import type { StoredObject } from "./contract.ts"

/** The store's own name for `key`: below the prefix of the store's URL, if it has one. */
export const keyUnder = (prefix: string, key: string): string => (prefix === "" ? key : `${prefix}/${key}`)

/**
 * What is wrong with an answer's ETag, as a clause; `null` if it identifies one version byte for byte. A weak ETag is no use,
 * because `If-Match` never matches it.
 */
export function whatIsWrongWithEtag(etag: string | undefined): string | null {
  const answered =
    !etag || etag === '""'
      ? "answered without an ETag"
      : etag.startsWith("W/")
        ? `answered with the weak ETag ${etag.slice(0, 100)}`
        : null
  return (
    answered &&
    `${answered}: something between here and the store, such as a proxy that compresses, changes bodies or validators, and must leave them alone`
  )
}

/** Whether `found` is the object that an upload of `size` bytes with `metadata` makes. This settles ambiguous answers. */
export function isSameObject(
  found: StoredObject,
  size: number,
  metadata: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(metadata)
  return (
    found.size === size &&
    Object.keys(found.metadata).length === names.length &&
    names.every((name) => found.metadata[name] === metadata[name])
  )
}
