import { copyFileSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"

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

/**
 * Adds to the package in `directory` what is not code: its manifest, the license, and the README of `home`. Names the sources in its
 * maps.
 */
export function stage(directory: string, home: string, manifest: object): void {
  nameSources(join(directory, "dist"))
  writeFileSync(join(directory, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`)
  copyFileSync(join(root, "LICENSE"), join(directory, "LICENSE"))
  copyFileSync(join(home, "README.md"), join(directory, "README.md"))
}

/** In the maps, sources get their paths in the repository: the same bytes, wherever it and the package's folder are. */
function nameSources(dist: string): void {
  for (const path of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".map")) continue
    const file = join(dist, path)
    const map = JSON.parse(readFileSync(file, "utf8")) as { sources: string[] }
    const named = (source: string) =>
      relative(realpathSync(root), resolve(realpathSync(dirname(file)), source))
    map.sources = map.sources.map((source) => (source.startsWith(".") ? named(source) : source))
    writeFileSync(file, JSON.stringify(map))
  }
}
