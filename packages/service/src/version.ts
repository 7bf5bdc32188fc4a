import { readFileSync } from "node:fs"

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string
}

/** Unseal's version (semver), as in this package's package.json: all workspaces carry the same one. */
export const VERSION: string = version
