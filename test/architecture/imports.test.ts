/** Who may import whom, and why. A broken rule says what broke it and the reason it exists. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { type Import, readSources, root, type SourceFile, workspaceOf } from "./sources.ts"

const sources = readSources()
const product = sources.filter((file) => !file.isTest && !file.path.startsWith("demo/"))

/** Every import of the files in `where` that `isForbidden`, as lines for a message. */
function violations(where: RegExp, isForbidden: (imported: Import, file: SourceFile) => boolean): string[] {
  return product
    .filter((file) => where.test(file.path))
    .flatMap((file) =>
      file.imports
        .filter((imported) => isForbidden(imported, file))
        .map((imported) => `${file.path} imports ${imported.specifier}`),
    )
}

const within =
  (...patterns: RegExp[]) =>
  ({ target }: Import) =>
    patterns.some((pattern) => pattern.test(target))

describe("the architecture", () => {
  it.each<[reason: string, where: RegExp, isForbidden: (imported: Import, file: SourceFile) => boolean]>([
    [
      "the format does no I/O and knows only errors: it can be read, tested and replaced without a store or a queue",
      /^packages\/archive\/src\/format\//,
      (imported) =>
        !within(/^packages\/archive\/src\/(format\/|errors\.ts$)/, /^node:(crypto|zlib)$/)(imported),
    ],
    [
      "a store knows the format's types and byte ranges, never its cryptography: storage knows nothing of keys",
      /^packages\/archive\/src\/store\//,
      (imported) =>
        within(/^packages\/archive\/src\/(?!store\/|(errors|waiting|format\/parts)\.ts$)/)(imported) &&
        !(imported.typeOnly && within(/^packages\/archive\/src\/format\//)(imported)),
    ],
    [
      "the decryption sees the stores' contract, no adapter: it must not know where bytes live",
      /^packages\/archive\/src\/[^/]+$/,
      within(
        /^packages\/archive\/src\/store\/(?!contract\.ts$|whole\.ts$)/,
        /^@aws-sdk\//,
        /^@azure\//,
        /^@smithy\//,
      ),
    ],
    [
      "the AWS SDK is imported by the S3 adapter alone: an SDK's errors and shapes end at its adapter",
      /^(?!packages\/archive\/src\/store\/s3|apps\/simulator\/src\/s3\/)/,
      within(/^@aws-sdk\//, /^@smithy\//),
    ],
    [
      "the Azure SDK is imported by the Azure adapter alone: an SDK's errors and shapes end at its adapter",
      /^(?!packages\/archive\/src\/store\/azure)/,
      within(/^@azure\//),
    ],
    [
      "BullMQ is imported by packages/queue and the console alone: its traps are known in one place",
      /^(?!packages\/queue\/|apps\/console\/)/,
      within(/^bullmq$/),
    ],
    [
      "the queue knows the archive's errors and how to wait, and nothing else of it: there is one way to wait, for all",
      /^packages\/queue\//,
      within(/^packages\/(service\/|archive\/src\/(?!(errors|waiting)\.ts$))/),
    ],
    [
      "the frame of a process knows no archive but the form of a store URL, and no queue",
      /^packages\/service\//,
      within(/^packages\/(queue\/|archive\/src\/(?!store\/url\.ts$))/),
    ],
    [
      "a package never imports an app",
      /^packages\//,
      within(/^(apps|ingest|worker|cli|simulator|console)\//),
    ],
    [
      "an app never imports another: what two need is a package",
      /^apps\//,
      (imported, file) =>
        within(/^apps\//, /^(ingest|worker|cli|simulator|console)\//)(imported) &&
        workspaceOf(imported.target) !== workspaceOf(file.path),
    ],
    ["the product never imports its tests or its demo", /^(packages|apps)\//, within(/^(test|demo)\//)],
    [
      "a workspace is entered by its name, not by a path: only what it exports may be used",
      /^(packages|apps)\//,
      (imported, file) =>
        imported.specifier.startsWith(".") && workspaceOf(imported.target) !== workspaceOf(file.path),
    ],
    [
      "ingest holds no private key and no cloud credential",
      /^apps\/ingest\//,
      within(/^packages\/archive\/src\/(format\/key-ring|key-directory|decrypt|store\/)/),
    ],
  ])("%s", (reason, where, isForbidden) => {
    expect(violations(where, isForbidden), reason).toEqual([])
  })

  it("reads process.env in a config.ts only: settings are checked in one place, all at once", () => {
    const readers = product.filter(
      ({ path, text }) =>
        /\bprocess\.env\b/.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")) &&
        !path.endsWith("/config.ts"),
    )
    expect(readers.map((file) => file.path)).toEqual([])
  })

  it("declares every package that it imports in the workspace that imports it", () => {
    const undeclared = product.flatMap((file) => {
      const manifest = JSON.parse(readFileSync(join(root, workspaceOf(file.path), "package.json"), "utf8"))
      const declared = Object.keys(manifest.dependencies ?? {})
      return file.imports
        .filter(({ specifier }) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
        .map(({ specifier }) =>
          specifier
            .split("/")
            .slice(0, specifier.startsWith("@") ? 2 : 1)
            .join("/"),
        )
        .filter((name) => !declared.includes(name) && name !== manifest.name)
        .map((name) => `${file.path} imports ${name}`)
    })
    expect(undeclared, "what is not declared is there by accident of another workspace").toEqual([])
  })

  it("declares no package that it does not import: each one is to be trusted, updated and explained", () => {
    const workspaces = [...new Set(product.map((file) => workspaceOf(file.path)))]
    const unused = workspaces.flatMap((workspace) => {
      const manifest = JSON.parse(readFileSync(join(root, workspace, "package.json"), "utf8"))
      const files = product.filter((file) => workspaceOf(file.path) === workspace)
      return Object.keys(manifest.dependencies ?? {})
        .filter(
          (name) =>
            !files.some((file) =>
              file.imports.some(({ specifier }) => `${specifier}/`.startsWith(`${name}/`)),
            ),
        )
        .map((name) => `${workspace} declares ${name}`)
    })
    expect(unused).toEqual([])
  })

  it("explains each runtime dependency in ARCHITECTURE.md", () => {
    const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8")
    const names = new Set(
      [...new Set(product.map((file) => workspaceOf(file.path)))].flatMap((workspace) =>
        Object.keys(
          JSON.parse(readFileSync(join(root, workspace, "package.json"), "utf8")).dependencies ?? {},
        ),
      ),
    )
    expect(
      [...names].filter((name) => !name.startsWith("@unseal/") && !text.includes(`\`${name}\``)),
    ).toEqual([])
  })

  it("pins every dependency to an exact version", () => {
    const manifests = [
      "package.json",
      ...new Set(sources.map((file) => join(workspaceOf(file.path), "package.json"))),
    ]
    const loose = manifests.flatMap((path) => {
      const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, path), "utf8"))
      return Object.entries<string>({ ...dependencies, ...devDependencies })
        .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
        .map(([name, version]) => `${path}: ${name} ${version}`)
    })
    expect(loose).toEqual([])
  })

  it("names files in kebab-case, and none utils, common, helpers or types", () => {
    const misnamed = sources.filter(({ path }) =>
      path
        .split("/")
        .some((part) => /^(utils?|common|helpers?|types)(\.ts)?$/.test(part) || !/^[a-z0-9.-]+$/.test(part)),
    )
    expect(misnamed.map((file) => file.path)).toEqual([])
  })

  it("sees the imports that it judges", () => {
    const importers = product.filter((file) => file.imports.some(({ specifier }) => specifier === "bullmq"))
    expect(importers.length).toBeGreaterThan(0)
    expect(importers.every((file) => file.path.startsWith("packages/queue/"))).toBe(true)
    expect(sources.flatMap((file) => file.imports).length).toBeGreaterThan(100)
  })
})
