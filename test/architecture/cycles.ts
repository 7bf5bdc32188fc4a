import type { SourceFile } from "./sources.ts"

/**
 * The import cycles among `files`, types included: each as the paths along it, from a file back to itself. Of files that can all
 * reach each other, one cycle is enough; when it is mended, the next one shows.
 */
export function importCycles(files: readonly SourceFile[]): string[][] {
  const known = new Map(files.map((file) => [file.path, file]))
  const done = new Set<string>()
  const cycles: string[][] = []

  function follow(path: string, way: readonly string[]): void {
    const begin = way.indexOf(path)
    if (begin >= 0) return void cycles.push([...way.slice(begin), path])
    const file = known.get(path)
    if (file === undefined || done.has(path)) return
    for (const { target } of file.imports) follow(target, [...way, path])
    done.add(path)
  }
  for (const { path } of files) follow(path, [])
  return cycles
}
