import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { CORE_SCHEMA, load } from "js-yaml"
import { describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")
const readYaml = (path: string) => load(read(path), { schema: CORE_SCHEMA }) as Record<string, unknown>

const manifests = ["package.json", "test/package.json", "demo/package.json"].concat(
  ["packages", "apps"].flatMap((folder) =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${folder}/${name}/package.json`),
  ),
  ["azurite", "redocly", "sdks"].map((name) => `test/${name}/package.json`),
)
const dependencies = manifests.flatMap((path) => {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(read(path))
  return Object.entries<string>({ ...dependencies, ...devDependencies })
})

describe("renovate.json", () => {
  const { packageRules } = JSON.parse(read("renovate.json")) as {
    packageRules: { description: string; matchPackageNames?: string[] }[]
  }

  it("has rules only for packages and images that the project uses", () => {
    const used = [...new Set(dependencies.map(([name]) => name)), "unseal"]
    for (const { description, matchPackageNames = [] } of packageRules) {
      for (const pattern of matchPackageNames.map((name) => name.replace(/^!/, ""))) {
        const matches = used.some((name) =>
          pattern.endsWith("/**") ? name.startsWith(pattern.slice(0, -2)) : name === pattern,
        )
        expect(matches, `${description}: ${pattern}`).toBe(true)
      }
    }
  })

  it("finds exact versions to update", () => {
    expect(dependencies.length).toBeGreaterThan(50)
    for (const [name, version] of dependencies) expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  })
})

describe("the issue templates", () => {
  const folder = ".github/ISSUE_TEMPLATE"
  const forms = readdirSync(join(root, folder)).filter((name) => name !== "config.yml")

  it.each(forms)("ask in %s for what a form can ask, each under its own id", (name) => {
    const {
      name: title,
      description,
      body,
    } = readYaml(`${folder}/${name}`) as {
      name: string
      description: string
      body: { type: string; id?: string; attributes: { label?: string; value?: string } }[]
    }
    expect([title, description].every((text) => text.length > 10)).toBe(true)
    const fields = body.filter(({ type }) => type !== "markdown")
    for (const { type, attributes } of fields) {
      expect(["textarea", "input", "dropdown", "checkboxes"]).toContain(type)
      expect(attributes.label).toBeTruthy()
    }
    expect(new Set(fields.map(({ id }) => id)).size).toBe(fields.length)
  })

  it("leave vulnerabilities out of public issues", () => {
    expect(readYaml(`${folder}/config.yml`)).toEqual({ blank_issues_enabled: false })
    expect(read(`${folder}/fault.yml`)).toContain("SECURITY.md")
  })
})
