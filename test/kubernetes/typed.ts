/** Checks objects against the published types and schemas of their kinds. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { type KubernetesObject, packages } from "./tools.ts"

const run = promisify(execFile)
const TSC = resolve(import.meta.dirname, "../../node_modules/typescript/bin/tsc")

/** The module that has the type and the schema of an object. */
function moduleOf({ apiVersion, kind }: KubernetesObject): string {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion]
  if (group === "keda.sh") return `@kubernetes-models/keda/keda.sh/${version}/${kind}`
  if (group === "monitoring.coreos.com")
    return `@kubernetes-models/prometheus-operator/${group}/${version}/${kind}`
  if (group === "gateway.networking.k8s.io")
    return `@kubernetes-models/gateway-api/${group}/${version}/${kind}`
  return `kubernetes-models/${group === "" ? "" : `${group}/`}${version}/${kind}`
}

/** What is wrong with the values of `objects` by their schemas. */
export async function schemaProblems(objects: readonly KubernetesObject[]): Promise<string[]> {
  const folder = join(await packages(), "node_modules")
  const problems: string[] = []
  for (const object of objects) {
    const module = await import(pathToFileURL(join(folder, `${moduleOf(object)}.js`)).href)
    try {
      new module[object.kind](object).validate()
    } catch (error) {
      problems.push(`${object.kind} ${object.metadata.name}: ${(error as Error).message}`)
    }
  }
  return problems
}

/** What the compiler says about `objects` as literals of their types, above all about fields that do not exist. */
export async function typeProblems(objects: readonly KubernetesObject[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "unseal-typed-"))
  try {
    await symlink(join(await packages(), "node_modules"), join(folder, "node_modules"))
    await writeFile(join(folder, "package.json"), '{ "type": "module" }')
    const lines = objects.map(
      (object, index) =>
        `import type { I${object.kind} as T${index} } from "${moduleOf(object)}"\n` +
        `export const ${object.kind}_${object.metadata.name.replaceAll(/\W/g, "_")}_${index}: T${index} = ${JSON.stringify(object, null, 1)}\n`,
    )
    await writeFile(join(folder, "objects.ts"), lines.join(""))
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--types", ""]
    return await run(process.execPath, [TSC, ...options, join(folder, "objects.ts")], { cwd: folder }).then(
      () => "",
      (error: { stdout?: string }) => error.stdout || String(error),
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}
