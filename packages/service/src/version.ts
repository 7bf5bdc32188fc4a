import { readFileSync } from "node:fs"

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string
}

/** Unseal's version (semver) from this package's package.json. All workspaces have the same one. */
export const VERSION: string = version
