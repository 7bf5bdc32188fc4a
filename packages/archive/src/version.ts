import manifest from "../package.json" with { type: "json" }

/** Unseal's version in records. */
export const version: string = manifest.version
