// Makes a folder that depends on the packed command line, with exactly the versions that package-lock.json has, and installs it.
// That is what the image holds. Plain JavaScript, because the image is built with it.
//
//   node scripts/release/locked-install.mjs TARBALLS FOLDER
import { execFileSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** `name@version`, and the digest of its content, for every package that a lockfile has below node_modules. */
const packagesOf = ({ packages }) =>
  Object.entries(packages).flatMap(([path, { version, integrity, link }]) => {
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)
    return path.includes("node_modules/") && !link ? [{ id: `${name}@${version}`, integrity }] : []
  })

/** Writes package.json, package-lock.json and the tarball into `folder`. Throws if a version is not the lockfile's. */
export function makeLockedInstall(tarballs, folder) {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const lockfile = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"))
  const tarball = `unseal-${version}.tgz`
  if (!existsSync(join(tarballs, tarball)))
    throw new Error(`${tarballs} has no ${tarball}: run "npm run pack", which makes it`)
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(tarballs, tarball), join(folder, tarball))
  const dependencies = { unseal: `file:${tarball}` }
  const manifest = { name: "unseal-installed", version, private: true, license: "Apache-2.0", dependencies }
  // npm keeps every version of a lockfile that still fits and removes what nobody needs. So it starts from everything.
  const known = Object.entries(lockfile.packages).filter(
    ([path, { link }]) => path.startsWith("node_modules/") && !link,
  )
  const packages = { "": manifest, ...Object.fromEntries(known) }
  const write = (name, content) => writeFileSync(join(folder, name), `${JSON.stringify(content, null, 2)}\n`)
  write("package.json", manifest)
  write("package-lock.json", { name: manifest.name, version, lockfileVersion: 3, requires: true, packages })
  npm(folder, "--package-lock-only")
  demandLocked(join(folder, "package-lock.json"), lockfile, ["unseal"])
}

/**
 * Installs what `makeLockedInstall` has made, for production. `npm ci` can't: it asks for optional packages of other systems, which
 * package-lock.json leaves out. Throws if a version is not the lockfile's.
 */
export function installLocked(folder) {
  npm(folder, "--omit=dev", "--no-save")
  const lockfile = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"))
  demandLocked(join(folder, "node_modules/.package-lock.json"), lockfile, [])
}

function npm(folder, ...args) {
  const quiet = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
  execFileSync("npm", ["install", ...args, ...quiet], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
}

/** Throws unless every package in the lockfile `path`, except those called `own`, is in `lockfile` with the same content. */
function demandLocked(path, lockfile, own) {
  const digests = new Map(packagesOf(lockfile).map(({ id, integrity }) => [id, integrity]))
  const strange = packagesOf(JSON.parse(readFileSync(path, "utf8")))
    .filter(({ id, integrity }) => digests.get(id) !== integrity || !digests.has(id))
    .map(({ id }) => id)
    .filter((id) => !own.includes(id.slice(0, id.lastIndexOf("@"))))
  if (strange.length > 0)
    throw new Error(
      `package-lock.json does not have ${strange.join(", ")}: run "npm install", then pack again`,
    )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [tarballs, folder] = process.argv.slice(2)
  if (tarballs === undefined || folder === undefined) {
    console.error("usage: locked-install.mjs TARBALLS FOLDER")
    process.exit(2)
  }
  makeLockedInstall(tarballs, folder)
  installLocked(folder)
}
