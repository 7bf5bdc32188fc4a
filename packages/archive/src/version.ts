import manifest from "../package.json" with { type: "json" }

/** Unseal's version, as records name it. */
export const version: string = manifest.version
