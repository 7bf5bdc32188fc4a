import { fstat, type Stats } from "node:fs"
import { stat } from "node:fs/promises"
import { promisify } from "node:util"
import { parseStoreUrl } from "@unseal/archive/store/url"
import type { Location } from "./location.ts"

/** Whether source and destination are one object, however each is spelt: with links, with `./`, or in another form of the URL. */
export async function isSameObject(source: Location, destination: Location): Promise<boolean> {
  const files = await Promise.all([fileOf(source), fileOf(destination)])
  if (files[0] && files[1]) return files[0].dev === files[1].dev && files[0].ino === files[1].ino
  const [from, to] = [addressOf(source), addressOf(destination)]
  return from !== null && from === to
}

function fileOf({ path, name }: Location): Promise<Stats | null> {
  const stats = name === "standard input" ? promisify(fstat)(0) : path && stat(path)
  return Promise.resolve(stats || null).catch(() => null)
}

/** A canonical address of a bucket's object; `null` for anything else. */
function addressOf({ url, key }: Location): string | null {
  if (url === undefined) return null
  const store = parseStoreUrl(url)
  if (store.kind === "file") return null
  const { hostname, host } = new URL(store.endpoint ?? "https://s3.amazonaws.com")
  // All endpoints of AWS, and all of Azure, lead to one namespace.
  const server = /\.(amazonaws\.com(\.cn)?|blob\.core\.windows\.net)$/.test(hostname) ? "" : host
  const place = store.kind === "s3" ? store.bucket : `${store.account ?? ""}/${store.container}`
  return [store.kind, server, place, store.prefix, key].join("\n")
}
