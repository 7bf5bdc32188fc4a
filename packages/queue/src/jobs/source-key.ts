/** Bytes, as with S3. */
const LONGEST = 1_024

/**
 * What is wrong with `key` as the key of a source object, as a clause without a subject; `null` if nothing is. It comes from outside
 * the configuration, so it must not lead out of the project's source.
 */
export function problemOfSourceKey(key: string): string | null {
  if (Buffer.byteLength(key) > LONGEST) return `must have at most ${LONGEST} bytes`
  if (/^[a-z0-9]{1,16}:\/\//.test(key)) return "must be the key below the source, and not a URL"
  if (/\p{Cc}/u.test(key)) return "must not hold control characters"
  if (key.split("/").some((segment) => segment === "" || segment === "." || segment === ".."))
    return 'must not begin or end with "/", nor hold empty segments, "." or ".."'
  return null
}
