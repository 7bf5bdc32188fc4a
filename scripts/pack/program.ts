/** `unseal`: the command line with ingest, the worker, the console and the simulator inside, bundled from the workspaces. */
import { chmodSync, copyFileSync, cpSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { rolldown } from "rolldown"
import { ENGINES, type Manifest, root, stage } from "./stage.ts"

const SURROUNDINGS = join(root, "scripts/checkout.mjs")
const INSTALLED = join(import.meta.dirname, "installed.mjs")

/** Makes the package's folder in `directory`. */
export async function buildProgram(directory: string): Promise<void> {
  const dependencies = createDependencies()
  const build = await rolldown({
    cwd: root,
    input: { unseal: "apps/cli/bin/unseal.mjs" },
    platform: "node",
    external: (id, importer) => isForeign(id) && dependencies.add(id, importer),
    plugins: [
      {
        name: "surroundings",
        resolveId: (id, importer) =>
          importer !== undefined && join(dirname(importer), id) === SURROUNDINGS ? INSTALLED : null,
      },
    ],
    transform: { target: "node22" },
  })
  const dist = join(directory, "dist")
  await build.write({
    dir: dist,
    format: "esm",
    sourcemap: true,
    // All in one folder, from which "../package.json" is the package's, as it is from the folders of the sources.
    entryFileNames: "[name].mjs",
    chunkFileNames: "[name]-[hash].mjs",
  })
  await build.close()
  // The console reads its files, and imports none (apps/console/src/board/routes.ts).
  dependencies.add("@bull-board/ui", undefined)
  chmodSync(join(dist, "unseal.mjs"), 0o755)
  // What the code reads beside itself.
  copyFileSync(join(root, "packages/archive/src/ordered/hash-thread.mjs"), join(dist, "hash-thread.mjs"))
  cpSync(join(root, "apps/simulator/media"), join(directory, "media"), { recursive: true })
  cpSync(join(root, "apps/console/assets"), join(directory, "assets"), { recursive: true })
  const home = join(root, "apps/cli")
  const { version, license } = JSON.parse(readFileSync(join(home, "package.json"), "utf8")) as Manifest
  stage(directory, home, {
    ...{ name: "unseal", version },
    description:
      "Decrypts encrypted OpenTok and Vonage Video archives: one by hand, or all of them through a queue",
    license,
    keywords: ["vonage", "opentok", "archive", "decrypt", "recording"],
    engines: ENGINES,
    type: "module",
    bin: { unseal: "dist/unseal.mjs" },
    files: ["dist", "media", "assets"],
    dependencies: dependencies.sorted(),
  })
}

/** Whether `id` names a package of others, or a module of Node's. The bundler's own helpers are bundled. */
const isForeign = (id: string): boolean => !/^[./\0]|^@unseal\/|^@oxc-project\//.test(id)

/** The packages that the code imports, in the versions of package-lock.json. */
function createDependencies() {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Readonly<Record<string, { readonly version: string }>>
  }
  const versions = new Map<string, string>()

  /** As Node finds it: in the nearest `node_modules` above the importing file. */
  function versionOf(name: string, importer: string | undefined): string {
    for (let folder = dirname(relative(root, importer ?? join(root, "x"))); ; folder = dirname(folder)) {
      const found = packages[join(folder, "node_modules", name)]
      if (found !== undefined) return found.version
      if (folder === ".") throw new Error(`${importer} imports ${name}, which package-lock.json lacks`)
    }
  }

  return {
    /** Notes that `importer` imports `id`. */
    add(id: string, importer: string | undefined): true {
      if (id.startsWith("node:")) return true
      const name = id.split("/", id.startsWith("@") ? 2 : 1).join("/")
      const version = versionOf(name, importer)
      const other = versions.get(name)
      if (other !== undefined && other !== version)
        throw new Error(`two versions of ${name} can't be in one package: ${other} and ${version}`)
      versions.set(name, version)
      return true
    },
    sorted: () => Object.fromEntries([...versions].sort(([one], [other]) => (one < other ? -1 : 1))),
  }
}
