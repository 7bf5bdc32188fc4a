/** The repository's TypeScript, as far as the rules of its architecture look at it. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, posix, relative, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "../..")

export interface Import {
  /** As it is written. */
  readonly specifier: string
  /** The file in the repository that it names, or the bare specifier of a package. */
  readonly target: string
  /** `import type`, or all of its names are types: it does not exist at run time. */
  readonly typeOnly: boolean
}

export interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
  readonly isTest: boolean
}

/** The workspaces below each folder, which are named as their folders are. */
const workspacesOf: Readonly<Record<string, readonly string[]>> = {
  packages: readdirSync(join(root, "packages")),
  apps: readdirSync(join(root, "apps")),
}

const IMPORT = /^(?:import|export)\s+(type\s+)?([^"';]*?\s+from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm

export function readSources(): SourceFile[] {
  return ["packages", "apps", "test", "demo"].flatMap(filesBelow).map((path) => {
    return sourceFile(path, readFileSync(join(root, path), "utf8"))
  })
}

/** `text` as the file `path` has it, or would have it. */
export function sourceFile(path: string, text: string): SourceFile {
  const isTest = path.endsWith(".test.ts") || path.startsWith("test/")
  return { path, text, imports: importsOf(path, text), isTest }
}

function filesBelow(directory: string): string[] {
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules") return []
    const path = posix.join(directory, entry.name)
    if (entry.isDirectory()) return filesBelow(path)
    return entry.name.endsWith(".ts") ? [path] : []
  })
}

function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(IMPORT)].map(([, type, names, from, dynamic]) => {
    const specifier = from ?? dynamic!
    const listed = names
      ?.match(/\{([^}]*)\}/)?.[1]
      ?.split(",")
      .map((name) => name.trim())
    const allTypes = listed?.filter(Boolean).every((name) => name.startsWith("type ")) ?? false
    return {
      specifier,
      target: targetOf(path, specifier),
      typeOnly: Boolean(type) || (allTypes && !/^\s*\w+\s*,/.test(names!)),
    }
  })
}

function targetOf(path: string, specifier: string): string {
  if (specifier.startsWith("."))
    return relative(root, resolve(root, dirname(path), specifier)).replaceAll("\\", "/")
  const own = /^@unseal\/([^/]+)\/(.+)$/.exec(specifier)
  if (own === null) return specifier
  const [, name, subpath] = own
  const parent = ["packages", "apps"].find((folder) => workspacesOf[folder]!.includes(name!))
  return parent === undefined ? `${name}/${subpath}.ts` : `${parent}/${name}/src/${subpath}.ts`
}

/** `apps/worker` of `apps/worker/src/main.ts`. */
export function workspaceOf(path: string): string {
  const [first, second] = path.split("/")
  return first === "packages" || first === "apps" ? `${first}/${second}` : first!
}
