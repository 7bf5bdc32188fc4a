/** `npm run pack`: writes the tarballs that can be installed to `dist/`, or to the folder that it is given. */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { buildLibrary } from "./library.ts"
import { buildProgram } from "./program.ts"
import { root } from "./stage.ts"

const destination = resolve(process.argv[2] ?? join(root, "dist"))
const scratch = mkdtempSync(join(tmpdir(), "unseal-pack-"))
try {
  mkdirSync(destination, { recursive: true })
  for (const [name, build] of [
    ["library", buildLibrary],
    ["program", buildProgram],
  ] as const) {
    const directory = join(scratch, name)
    mkdirSync(directory)
    await build(directory)
    // npm gives every file the same time and owner, so the same sources are the same bytes.
    const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", destination], {
      ...{ cwd: directory, encoding: "utf8" },
      stdio: ["ignore", "pipe", "inherit"],
    })
    console.log(join(destination, filenameIn(packed)))
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

/** Of a list, as npm has it up to 11, or of an object by name. */
function filenameIn(json: string): string {
  const [packed] = Object.values(JSON.parse(json) as object) as { filename: string }[]
  return packed!.filename
}
