import "./reflect-polyfill.ts"

/** Loaded by a call, because a bundler moves an import of a package before the code of a file. */
export const x509 = await import("@peculiar/x509")
