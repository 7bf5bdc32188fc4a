/** The page's own style, script and icon: files, because the content security policy permits nothing inline. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"

export interface Asset {
  readonly type: string
  readonly body: Buffer
  /** Changes with the content, and is part of the URL, so that browsers may keep it for ever. */
  readonly version: string
}

const TYPES = {
  "console.css": "text/css; charset=utf-8",
  "console.js": "text/javascript; charset=utf-8",
  "icon.svg": "image/svg+xml",
} as const

export type AssetName = keyof typeof TYPES

export const ASSETS: ReadonlyMap<string, Asset> = new Map(
  Object.entries(TYPES).map(([name, type]) => {
    const body = readFileSync(new URL(`../assets/${name}`, import.meta.url))
    const version = createHash("sha256").update(body).digest("base64url").slice(0, 12)
    return [name, { type, body, version }]
  }),
)

export const assetPath = (name: AssetName): string => `/assets/${name}?v=${ASSETS.get(name)!.version}`
