/** Who may import whom, and why. A broken rule says what broke it and the reason it exists. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { importCycles } from "./cycles.ts"
import { type Import, readSources, root, type SourceFile, sourceFile, workspaceOf } from "./sources.ts"

const sources = readSources()
const isProduct = (file: SourceFile) => !file.isTest && !file.path.startsWith("demo/")
const product = sources.filter(isProduct)

interface Rule {
  readonly reason: string
  /** The files that it holds for. */
  readonly where: RegExp
  readonly isForbidden: (imported: Import, file: SourceFile) => boolean
  /** An import in a file that would break it: a rule that lets this pass judges nothing. */
  readonly broken: readonly [path: string, specifier: string]
}

/** Every import of `files` that breaks the rule, as lines for a message. */
function violations({ where, isForbidden }: Rule, files: readonly SourceFile[]): string[] {
  return files
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

/** `packages/archive/src/store/s3` of each file below it. */
const roomOf = (path: string) => path.split("/", 5).join("/")

const RULES: readonly Rule[] = [
  {
    reason:
      "the format does no I/O and knows only errors and their words: it can be read, tested and replaced without a store or a queue",
    where: /^packages\/archive\/src\/format\//,
    isForbidden: (imported) =>
      !within(
        /^packages\/archive\/src\/(format\/|(errors|counted)\.ts$)/,
        /^node:(buffer|crypto|zlib)$/,
      )(imported),
    broken: ["packages/archive/src/format/cbc.ts", "node:fs"],
  },
  {
    reason:
      "a store knows the format's types, byte ranges and checksums, never its cryptography: storage knows nothing of keys",
    where: /^packages\/archive\/src\/store\//,
    isForbidden: (imported) =>
      within(
        /^packages\/archive\/src\/(?!store\/|(errors|counted|did-you-mean|waiting|format\/(crc32|parts))\.ts$)/,
      )(imported) && !(imported.typeOnly && within(/^packages\/archive\/src\/format\//)(imported)),
    broken: ["packages/archive/src/store/s3/store.ts", "../../format/cbc.ts"],
  },
  {
    reason: "the decryption sees the stores' contract, no adapter: it must not know where bytes live",
    where: /^packages\/archive\/src\/((decrypt|ordered|record)\/|(?!index\.ts$)[^/]+$)/,
    isForbidden: within(
      /^packages\/archive\/src\/store\/(?!contract\.ts$|small-object\.ts$)/,
      /^@aws-sdk\//,
      /^@azure\//,
      /^@smithy\//,
    ),
    broken: ["packages/archive/src/decrypt/archive.ts", "../store/s3/store.ts"],
  },
  {
    reason: "an adapter never imports another: what two need stands beside the contract, or in http/",
    where: /^packages\/archive\/src\/store\/(s3|azure|directory|https)\//,
    isForbidden: ({ target }, file) =>
      /^packages\/archive\/src\/store\/(s3|azure|directory|https)\//.test(target) &&
      roomOf(target) !== roomOf(file.path),
    broken: ["packages/archive/src/store/azure/store.ts", "../s3/errors.ts"],
  },
  {
    reason: "the AWS SDK is imported by the S3 adapter alone: an SDK's errors and shapes end at its adapter",
    where: /^(?!packages\/archive\/src\/store\/s3\/|apps\/simulator\/src\/s3\/)/,
    isForbidden: within(/^@aws-sdk\//, /^@smithy\//),
    broken: ["apps/worker/src/run/project-resources.ts", "@aws-sdk/client-s3"],
  },
  {
    reason:
      "the Azure SDK is imported by the Azure adapter alone: an SDK's errors and shapes end at its adapter",
    where: /^(?!packages\/archive\/src\/store\/azure\/)/,
    isForbidden: within(/^@azure\//),
    broken: ["packages/archive/src/store/open.ts", "@azure/storage-blob"],
  },
  {
    reason: "BullMQ is imported by packages/queue and the console alone: its traps are known in one place",
    where: /^(?!packages\/queue\/|apps\/console\/)/,
    isForbidden: within(/^bullmq$/),
    broken: ["apps/cli/src/queue/queue.ts", "bullmq"],
  },
  {
    reason:
      "the queue knows the archive's errors, how to wait, and the types of a checkpoint, which both write: nothing else of it",
    where: /^packages\/queue\//,
    isForbidden: (imported) =>
      within(/^packages\/(?!queue\/|archive\/src\/(errors|waiting)\.ts$)/)(imported) &&
      !(imported.typeOnly && within(/^packages\/archive\/src\/decrypt\/checkpoint\.ts$/)(imported)),
    broken: ["packages/queue/src/run/consumer.ts", "@unseal/vendor/client"],
  },
  {
    reason: "the frame of a process knows no archive but the form of a store URL, and no queue",
    where: /^packages\/service\//,
    isForbidden: within(/^packages\/(?!service\/|archive\/src\/(store\/url|did-you-mean)\.ts$)/),
    broken: ["packages/service/src/process.ts", "@unseal/vendor/client"],
  },
  {
    reason:
      "an archive is decrypted without its vendor: whoever has the file, the password and the key needs no more",
    where: /^packages\/archive\//,
    isForbidden: within(/^packages\/(?!archive\/)/),
    broken: ["packages/archive/src/decrypt/archive.ts", "@unseal/vendor/client"],
  },
  {
    reason: "whoever speaks with the vendor knows no queue and no process: the command line uses it as well",
    where: /^packages\/vendor\//,
    isForbidden: within(/^packages\/(queue|service)\//),
    broken: ["packages/vendor/src/client.ts", "@unseal/queue/enqueue/producer"],
  },
  {
    reason:
      "an operation knows the stores' contract and errors, the queue, the vendor's client and where a project's objects are: whoever runs it opens stores and reads settings",
    where: /^packages\/operations\//,
    isForbidden: (imported) =>
      !within(
        /^packages\/(operations|queue|vendor)\//,
        /^packages\/archive\/src\/(errors|record\/record|did-you-mean)\.ts$/,
        /^packages\/service\/src\/projects\/key-template\.ts$/,
        /^node:crypto$/,
      )(imported) &&
      !(
        imported.typeOnly &&
        within(/^packages\/(archive\/src\/store\/(contract|adapter)|service\/src\/projects\/projects)\.ts$/)(
          imported,
        )
      ),
    broken: ["packages/operations/src/janitor.ts", "@unseal/archive/store/open"],
  },
  {
    reason: "operations stand on the other packages, and none of these stands on them: apps run them",
    where: /^packages\/(?!operations\/)/,
    isForbidden: within(/^packages\/operations\//),
    broken: ["packages/queue/src/run/consumer.ts", "@unseal/operations/redrive"],
  },
  {
    reason:
      "ingest and the workers administer nothing: they take in and decrypt, with the rights for that alone",
    where: /^apps\/(ingest|worker|simulator)\//,
    isForbidden: within(/^packages\/operations\//),
    broken: ["apps/worker/src/main.ts", "@unseal/operations/janitor"],
  },
  {
    reason: "a package never imports an app",
    where: /^packages\//,
    isForbidden: within(/^apps\//),
    broken: ["packages/archive/src/decrypt/archive.ts", "@unseal/simulator/recording/recording"],
  },
  {
    reason: "an app never imports another: what two need is a package",
    where: /^apps\//,
    isForbidden: (imported, file) =>
      within(/^apps\//)(imported) && workspaceOf(imported.target) !== workspaceOf(file.path),
    broken: ["apps/worker/src/main.ts", "@unseal/simulator/recording/recording"],
  },
  {
    reason: "the product never imports its tests or its demo",
    where: /^(packages|apps)\//,
    isForbidden: within(/^(test|demo)\//),
    broken: ["apps/worker/src/main.ts", "@unseal/test/harness/redis/redis"],
  },
  {
    reason: "a workspace is entered by its name, not by a path: only what it exports may be used",
    where: /^(packages|apps)\//,
    isForbidden: (imported, file) =>
      imported.specifier.startsWith(".") && workspaceOf(imported.target) !== workspaceOf(file.path),
    broken: ["apps/worker/src/main.ts", "../../../packages/queue/src/run/consumer.ts"],
  },
  {
    reason:
      "a key ring is opened by its URL: nobody but the table of schemes knows that keys are a directory",
    where: /^(?!packages\/archive\/src\/keys\/open\.ts$)/,
    isForbidden: within(/^packages\/archive\/src\/keys\/directory\.ts$/),
    broken: ["apps/worker/src/run/project-resources.ts", "@unseal/archive/keys/directory"],
  },
  {
    reason: "ingest holds no private key and no cloud credential",
    where: /^apps\/ingest\//,
    isForbidden: within(
      /^packages\/archive\/src\/(format\/key-ring|keys\/|decrypt\/|ordered\/|record\/|store\/)/,
    ),
    broken: ["apps/ingest/src/main.ts", "@unseal/archive/keys/directory"],
  },
]

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")

describe("the architecture", () => {
  it.each(RULES)("$reason", (rule) => {
    expect(violations(rule, product), rule.reason).toEqual([])
    const [path, specifier] = rule.broken
    const broken = sourceFile(path, `import { x } from "${specifier}"\n`)
    expect(isProduct(broken)).toBe(true)
    expect(violations(rule, [broken])).toEqual([`${path} imports ${specifier}`])
  })

  it("has no import cycles, not even of types: of two files that need each other, neither can be read first", () => {
    expect(importCycles(sources).map((cycle) => cycle.join(" → "))).toEqual([])
  })

  it("finds the cycles that there are", () => {
    const cyclesOf = (files: Record<string, string>) =>
      importCycles(Object.entries(files).map(([path, text]) => sourceFile(path, text)))
    const first = "packages/queue/src/a.ts"
    const second = "packages/queue/src/b.ts"
    const third = "apps/worker/src/c.ts"
    expect(cyclesOf({ [first]: 'import "./b.ts"\n', [second]: "" })).toEqual([])
    expect(
      cyclesOf({
        [third]: 'import { a } from "@unseal/queue/a"\n',
        [first]: 'import { b } from "./b.ts"\n',
        [second]: 'import { x } from "bullmq"\nexport type { A } from "./a.ts"\n',
      }),
    ).toEqual([[first, second, first]])
    expect(
      cyclesOf({
        [first]: 'import type { B } from "@unseal/queue/b"\n',
        [second]: 'const c = await import("../../../apps/worker/src/c.ts")\n',
        [third]: 'import { type A, a } from "@unseal/queue/a"\n',
      }),
    ).toEqual([[first, second, third, first]])
    expect(cyclesOf({ [first]: 'import "./a.ts"\n' })).toEqual([[first, first]])
  })

  it("tests with poisoned stores only: whoever keeps a chunk too long must fail, at any size", () => {
    const opens = /\bopen(S3|Azure|File|Https)?Store\(/
    const isUnpoisoned = ({ path, text, isTest }: SourceFile) =>
      isTest &&
      !/^test\/(bench|architecture|packages|long)\//.test(path) &&
      opens.test(text) &&
      !text.includes("poisoned(")
    const unpoisoned = sources.filter(isUnpoisoned).map(({ path }) => path)
    expect(unpoisoned, "wrap each store in poisoned() of test/harness/poisoned.ts").toEqual([])
    expect(isUnpoisoned(sourceFile("test/x.ts", "const store = await openFileStore(url, options)"))).toBe(
      true,
    )
  })

  it("reads process.env in a config.ts only: settings are checked in one place, all at once", () => {
    const readers = product.filter(
      ({ path, text }) => /\bprocess\.env\b/.test(withoutComments(text)) && !path.endsWith("/config.ts"),
    )
    expect(readers.map((file) => file.path)).toEqual([])
  })

  it("has operations without a terminal: no output, no arguments, no exit codes; results are values", () => {
    const hasTerminal = ({ path, text }: SourceFile) =>
      path.startsWith("packages/operations/") && /\bprocess\b|\bconsole\./.test(withoutComments(text))
    expect(product.filter(hasTerminal).map(({ path }) => path)).toEqual([])
    for (const broken of ["process.stdout.write(line)", "process.exitCode = 1", 'console.log("done")'])
      expect(hasTerminal(sourceFile("packages/operations/src/redrive.ts", broken))).toBe(true)
  })

  it("declares every package that it imports in the workspace that imports it", () => {
    const undeclared = product.flatMap((file) => {
      const manifest = JSON.parse(readFileSync(join(root, workspaceOf(file.path), "package.json"), "utf8"))
      const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
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
    // Who opens stores brings the SDKs that the archive leaves to its users.
    const { peerDependencies } = JSON.parse(readFileSync(join(root, "packages/archive/package.json"), "utf8"))
    const broughtBy = (workspace: string, name: string) =>
      name in peerDependencies &&
      product.some(
        (file) =>
          workspaceOf(file.path) === workspace &&
          file.imports.some(({ specifier }) => specifier === "@unseal/archive/store/open"),
      )
    const unused = workspaces.flatMap((workspace) => {
      const manifest = JSON.parse(readFileSync(join(root, workspace, "package.json"), "utf8"))
      const files = product.filter((file) => workspaceOf(file.path) === workspace)
      return Object.keys(manifest.dependencies ?? {})
        .filter(
          (name) =>
            !broughtBy(workspace, name) &&
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
