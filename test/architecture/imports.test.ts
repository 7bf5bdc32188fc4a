/** Who may import whom, and why. A broken rule says what broke it and the reason it exists. */

import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { importCycles } from "./cycles.ts"
import { RULES, violations } from "./rules.ts"
import { readSources, root, type SourceFile, sourceFile, workspaceOf } from "./sources.ts"

const sources = readSources()
const isProduct = (file: SourceFile) => !file.isTest && !file.path.startsWith("demo/")
const product = sources.filter(isProduct)

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
            !files.some(
              (file) =>
                file.imports.some(({ specifier }) => `${specifier}/`.startsWith(`${name}/`)) ||
                // Its files are read, and none is imported.
                file.text.includes(`resolve("${name}/`),
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
