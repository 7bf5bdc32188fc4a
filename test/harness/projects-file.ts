/** A directory with secrets for projects files, and the problems of such files. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import type { ProjectsReader } from "../../packages/service/src/projects/fields.ts"
import { readProjects } from "../../packages/service/src/projects/projects.ts"
import { ConfigurationError } from "../../packages/service/src/settings/settings.ts"

export const UUID = "6f0c4b2e-8c55-4c5b-9a3b-0d4f1f0e7a11"
export const TOKEN = "a-token-of-enough-length"

export let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-projects-"))
  mkdirSync(join(directory, "secrets"))
  writeFileSync(join(directory, "secrets/old"), "the old secret of callbacks\n")
  writeFileSync(join(directory, "secrets/new"), "the new secret of callbacks\n")
  writeFileSync(join(directory, "secrets/token"), `${TOKEN}\n`)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

export function file(content: string, name = "projects.yaml"): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

export function problemsOf(reader: ProjectsReader, env: Record<string, string>): readonly string[] {
  try {
    readProjects({ for: reader, env })
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

export const problemsOfFile = (reader: ProjectsReader, content: string): readonly string[] => {
  const path = file(content)
  return problemsOf(reader, { UNSEAL_PROJECTS_FILE: path }).map((problem) => problem.replace(`${path}: `, ""))
}

/** A file of two projects: one by number and signature, one by UUID and token. */
export const BOTH = `
projects:
  - id: 123456
    source: s3://in
    destination: s3://out
    destinationKey: "{archiveId}.ts"
    keys: keys
    signatureSecretFile: secrets/new
  - id: ${UUID}
    source: azure://in?account=a
    destination: file:///out
    sourceKeys: ["{projectId}/{archiveId}/archive.ts"]
    keys: /run/keys
    callbackAuth: token
    callbackTokenFile: secrets/token
`
