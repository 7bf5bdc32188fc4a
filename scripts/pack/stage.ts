import { copyFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")

/** A package.json, as far as packages are made from it. */
export interface Manifest {
  readonly name: string
  readonly version: string
  readonly description: string
  readonly license: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, object>>
}

/** The Nodes that the packages run on: scripts/pack/installed.mjs refuses older ones. */
export const ENGINES = { node: ">=22.19" }

/** Adds to the package in `directory` what is not code: its manifest, the license, and the README of `home`. */
export function stage(directory: string, home: string, manifest: object): void {
  writeFileSync(join(directory, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`)
  copyFileSync(join(root, "LICENSE"), join(directory, "LICENSE"))
  copyFileSync(join(home, "README.md"), join(directory, "README.md"))
}
