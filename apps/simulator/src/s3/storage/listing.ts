import { S3Error } from "../http/s3-error.ts"
import { encodeRfc3986 } from "../http/uri.ts"
import type { KeyIndex } from "./key-index.ts"

export const MAX_PAGE = 1000

export interface Selection {
  readonly prefix: string
  /** Keys that are equal up to its first occurrence after the prefix are rolled up. Empty: no delimiter. */
  readonly delimiter: string
  /** The page begins after this key or common prefix. Empty for the first page. */
  readonly after: string
  readonly limit: number
}

export interface Page {
  readonly keys: readonly string[]
  readonly commonPrefixes: readonly string[]
  /** The page's last key or common prefix, if more follow. */
  readonly next?: string
}

/** One page of keys and common prefixes; both count towards `limit`. A rolled-up prefix costs one step, whatever its size. */
export function selectPage(index: KeyIndex, { prefix, delimiter, after, limit }: Selection): Page {
  const keys: string[] = []
  const commonPrefixes: string[] = []
  const rollUp = (key: string): string | undefined => {
    if (delimiter === "") return undefined
    const end = key.indexOf(delimiter, prefix.length)
    return end < 0 ? undefined : key.slice(0, end + delimiter.length)
  }
  let last: string | undefined
  let at = Math.max(index.indexOf(prefix), firstAfter(index, after, rollUp(after) === after))
  for (;;) {
    const key = index.at(at)
    if (key === undefined || !key.startsWith(prefix)) return { keys, commonPrefixes }
    if (keys.length + commonPrefixes.length >= limit)
      return { keys, commonPrefixes, ...(last !== undefined && { next: last }) }
    const common = rollUp(key)
    if (common === undefined) {
      keys.push(key)
      at++
    } else {
      commonPrefixes.push(common)
      at = index.indexAfterPrefix(common)
    }
    last = common ?? key
  }
}

function firstAfter(index: KeyIndex, after: string, isCommonPrefix: boolean): number {
  if (after === "") return 0
  if (isCommonPrefix) return index.indexAfterPrefix(after)
  const at = index.indexOf(after)
  return index.at(at) === after ? at + 1 : at
}

/** The page size that the client requests, capped at S3's maximum. */
export function readLimit(query: ReadonlyMap<string, string>, name: string): number {
  const text = query.get(name)
  if (text === undefined) return MAX_PAGE
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1)
    throw new S3Error("InvalidArgument", `Argument ${name} must be an integer between 0 and 2147483647`, {
      ArgumentName: name,
      ArgumentValue: text,
    })
  return Math.min(Number(text), MAX_PAGE)
}

/** How names are written into the answer: unchanged, or percent-encoded for keys that XML can't represent. */
export function readEncoding(query: ReadonlyMap<string, string>): (name: string) => string {
  const encoding = query.get("encoding-type")
  if (encoding === undefined) return (name) => name
  if (encoding !== "url")
    throw new S3Error("InvalidArgument", "Invalid Encoding Method specified in Request", {
      ArgumentName: "encoding-type",
      ArgumentValue: encoding,
    })
  return (name) => name.split("/").map(encodeRfc3986).join("/")
}
