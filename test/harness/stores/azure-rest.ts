/** Azure's REST interface without adapter and SDK, so that a test can look at a container independently. */
import { createHmac } from "node:crypto"
import type { Azurite } from "./azurite.ts"

const VERSION = "2023-11-03"

/** A shared access signature for everything in the account, without a question mark. */
export function accountSas(
  { account, key }: Pick<Azurite, "account" | "key">,
  permissions = "rwdlac",
): string {
  const expiry = `${new Date(Date.now() + 24 * 3_600_000).toISOString().slice(0, 19)}Z`
  const signed = [account, permissions, "b", "sco", "", expiry, "", "https,http", VERSION, "", ""].join("\n")
  return new URLSearchParams({
    sv: VERSION,
    ss: "b",
    srt: "sco",
    sp: permissions,
    se: expiry,
    spr: "https,http",
    sig: createHmac("sha256", Buffer.from(key, "base64")).update(signed).digest("base64"),
  }).toString()
}

export interface RawContainer {
  readonly name: string
  put(key: string, bytes: Uint8Array, metadata?: Readonly<Record<string, string>>): Promise<void>
  /** The blob and the headers of the answer. `null` if there is none. */
  get(key: string): Promise<{ bytes: Uint8Array; headers: Headers } | null>
  setTier(key: string, tier: "Hot" | "Archive"): Promise<void>
  remove(key: string): Promise<void>
  /** Stages a block. `id` is not yet base64. */
  stage(key: string, id: string, bytes: Uint8Array): Promise<void>
  /** The ids of the staged blocks, decoded. */
  staged(key: string): Promise<string[]>
  /** The names of the blobs that nobody committed. */
  uncommitted(): Promise<string[]>
}

/** Creates the container `name`. */
export async function createRawContainer(azurite: Azurite, name: string): Promise<RawContainer> {
  const sas = accountSas(azurite)
  async function request(method: string, key: string, query: string, options: RequestInit = {}) {
    const path = key.split("/").map(encodeURIComponent).join("/")
    const response = await fetch(`${azurite.url}/${name}${path && `/${path}`}?${query}&${sas}`, {
      method,
      ...options,
      headers: { "x-ms-version": VERSION, ...options.headers },
    })
    if (!response.ok && response.status !== 404)
      throw new Error(`${method} ${key}: ${response.status} ${await response.text()}`)
    return response
  }
  const names = (xml: string, tag: string) =>
    [...xml.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, "g"))].map(([, text]) => text ?? "")
  const list = async (extra: string) => names(await (await request("GET", "", extra)).text(), "Name")

  await request("PUT", "", "restype=container")
  return {
    name,
    async put(key, bytes, metadata = {}) {
      const named = Object.entries(metadata).map(([header, value]) => [`x-ms-meta-${header}`, value])
      const headers = { "x-ms-blob-type": "BlockBlob", ...Object.fromEntries(named) }
      await request("PUT", key, "", { headers, body: Uint8Array.from(bytes) })
    },
    async get(key) {
      const response = await request("GET", key, "")
      const bytes = new Uint8Array(await response.arrayBuffer())
      return response.status === 404 ? null : { bytes, headers: response.headers }
    },
    async setTier(key, tier) {
      await request("PUT", key, "comp=tier", { headers: { "x-ms-access-tier": tier } })
    },
    async remove(key) {
      await request("DELETE", key, "")
    },
    async stage(key, id, bytes) {
      const blockid = encodeURIComponent(Buffer.from(id).toString("base64"))
      await request("PUT", key, `comp=block&blockid=${blockid}`, { body: Uint8Array.from(bytes) })
    },
    async staged(key) {
      const response = await request("GET", key, "comp=blocklist&blocklisttype=uncommitted")
      if (response.status === 404) return []
      return names(await response.text(), "Name").map((id) => Buffer.from(id, "base64").toString())
    },
    async uncommitted() {
      const visible = new Set(await list("restype=container&comp=list"))
      return (await list("restype=container&comp=list&include=uncommittedblobs")).filter(
        (blob) => !visible.has(blob),
      )
    },
  }
}
