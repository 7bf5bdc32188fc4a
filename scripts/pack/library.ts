/** `@unseal/archive`: the sources of packages/archive, compiled file by file. */
import { execFileSync } from "node:child_process"
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ENGINES, type Manifest, root, stage } from "./stage.ts"

/** Makes the package's folder in `directory`. */
export function buildLibrary(directory: string): void {
  const home = join(root, "packages/archive")
  const { dependencies, peerDependencies, peerDependenciesMeta, ...own } = JSON.parse(
    readFileSync(join(home, "package.json"), "utf8"),
  ) as Manifest
  const compiler = join(root, "node_modules/typescript/bin/tsc")
  const dist = join(directory, "dist")
  execFileSync(
    process.execPath,
    [compiler, "--project", join(import.meta.dirname, "tsconfig.library.json"), "--outDir", dist],
    { stdio: ["ignore", "inherit", "inherit"] },
  )
  copyFileSync(join(home, "src/ordered/hash-thread.mjs"), join(dist, "ordered/hash-thread.mjs"))
  nameDeclarations(dist)
  stage(directory, home, {
    ...{ name: own.name, version: own.version, description: own.description, license: own.license },
    keywords: ["vonage", "opentok", "archive", "decrypt", "recording"],
    engines: ENGINES,
    type: "module",
    exports: { ".": entry("index"), "./errors": entry("errors"), "./package.json": "./package.json" },
    files: ["dist"],
    ...{ dependencies, peerDependencies, peerDependenciesMeta },
  })
}

const entry = (name: string) => ({ types: `./dist/${name}.d.ts`, default: `./dist/${name}.js` })

/** In declarations the compiler leaves the extensions of imports as the sources have them. */
function nameDeclarations(directory: string): void {
  for (const path of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".d.ts")) continue
    const file = join(directory, path)
    const text = readFileSync(file, "utf8")
    writeFileSync(file, text.replace(/((?:from|import\() ?"\.{1,2}\/[^"\n]+)\.ts"/g, '$1.js"'))
  }
}
