import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import {
  BOTH,
  directory,
  file,
  problemsOf,
  problemsOfFile,
  TOKEN,
  UUID,
} from "../../../../test/harness/projects-file.ts"
import { readProjects } from "./projects.ts"

describe("a projects file", () => {
  it("serves ingest: relative secrets start at the file", () => {
    const projects = readProjects({ for: "ingest", env: { UNSEAL_PROJECTS_FILE: file(BOTH) } })
    expect(projects.ids).toEqual(["123456", UUID])
    expect(projects.get("123456")).toEqual({
      id: "123456",
      callbackAuth: "signed",
      signatureSecrets: ["the new secret of callbacks"],
    })
    expect(projects.get(UUID)).toMatchObject({ callbackAuth: "token", callbackToken: TOKEN })
  })

  it("serves the worker, which does not touch the files of secrets", () => {
    const env = { UNSEAL_PROJECTS_FILE: file(BOTH.replaceAll("secrets/", "/no/such/")) }
    const projects = readProjects({ for: "worker", env })
    expect(projects.get("123456")).toEqual({
      id: "123456",
      source: "s3://in",
      destination: "s3://out",
      sourceKeys: ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"],
      destinationKey: "{archiveId}.ts",
      keys: join(directory, "keys"),
      limits: {},
    })
  })

  it("serves users of the vendor's API, by platform", () => {
    const key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    writeFileSync(join(directory, "secrets/application.pem"), `${key}\n`)
    const content = `
projects:
  - { id: 1, apiSecretFile: secrets/new }
  - { id: 2, platform: opentok, apiAuth: basic, apiSecretFile: secrets/old, apiUrl: "https://eu.example.com" }
  - { id: ${UUID}, platform: vonage, applicationKeyFile: secrets/application.pem }
  - { id: 3 }
`
    const projects = readProjects({ for: "vendor", env: { UNSEAL_PROJECTS_FILE: file(content) } })
    expect(projects.ids.map((id) => projects.get(id))).toEqual([
      {
        id: "1",
        platform: "opentok",
        credentials: { scheme: "opentok", apiSecret: "the new secret of callbacks" },
      },
      {
        ...{ id: "2", platform: "opentok", apiUrl: "https://eu.example.com" },
        credentials: { scheme: "basic", apiSecret: "the old secret of callbacks" },
      },
      { id: UUID, platform: "vonage", credentials: { scheme: "vonage", privateKey: key } },
      { id: "3", platform: "opentok" },
    ])
  })

  it("accepts an application's key with literal line breaks, and in quotes", () => {
    const pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    for (const written of [pem.replaceAll("\n", "\\n"), `"${pem.replaceAll("\n", "\\r\\n")}"`]) {
      const env = { UNSEAL_PROJECT_ID: UUID, UNSEAL_APPLICATION_KEY: written }
      expect(readProjects({ for: "vendor", env }).get(UUID)?.credentials).toEqual({
        scheme: "vonage",
        privateKey: pem,
      })
    }
  })

  it("is refused if a project's platform, credentials and limits do not fit", () => {
    const content = `
projects:
  - { id: 1, platform: vonage, apiSecretFile: secrets/new }
  - { id: ${UUID}, apiSecretFile: secrets/new }
  - { id: 2, applicationKeyFile: secrets/new, apiUrl: "ftp://x" }
  - { id: 3, apiSecret: hunter2 }
  - { id: 4, platform: tokbox }
`
    const problems = problemsOfFile("vendor", content)
    expect(problems).toEqual([
      "projects[3].apiSecret holds a secret: give the file that holds it, apiSecretFile",
      "projects[0].platform is vonage, but the id is one of opentok: OpenTok has digits, Vonage a UUID",
      "projects[1].applicationKeyFile is missing, and the REST API is authenticated by the application's key",
      "projects[2].applicationKeyFile holds no private key (PEM) without a passphrase",
      "projects[2].apiUrl must be a URL with https://",
      "projects[2].apiSecretFile is missing, and the REST API is authenticated by opentok",
      "projects[4].platform must be opentok or vonage",
    ])
    expect(problems.join()).not.toContain("hunter2")
    expect(
      problemsOfFile("worker", `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: 7 }]`),
    ).toEqual(["projects[0].keys must be text: a number is put in quotes"])
    const limits = (text: string) =>
      problemsOfFile(
        "worker",
        `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: k, limits: ${text} }]`,
      )
    expect(limits("{ partsInFlight: 2 }")).toEqual([])
    expect(limits("{ partsInFlight: 0 }")).toEqual([
      "projects[0].limits.partsInFlight must be a whole number from 1 to 10000",
    ])
    expect(limits("{ archives: 2 }")).toEqual(["projects[0].limits may only hold partsInFlight"])
  })

  it("may be JSON, and holds two secrets while one is rotated", () => {
    const content = JSON.stringify({
      projects: [{ id: "7", signatureSecretFiles: ["secrets/old", "secrets/new"] }],
    })
    const env = { UNSEAL_PROJECTS_FILE: file(content, "projects.json") }
    expect(readProjects({ for: "ingest", env }).get("7")?.signatureSecrets).toEqual([
      "the old secret of callbacks",
      "the new secret of callbacks",
    ])
  })

  it("with 5,000 projects and long store URLs can be read", () => {
    const project = (id: number) => ({
      id,
      source: `s3://recordings-${id}/a/prefix/that/is/long?region=eu-central-1&profile=profile-of-${id}`,
      destination: `s3://decrypted-${id}?region=eu-central-1&serverSideEncryption=aws:kms&sseKmsKeyId=${"k".repeat(80)}`,
      keys: `/run/secrets/keys-of-project-${id}`,
    })
    const projects = Array.from({ length: 5_000 }, (_, index) => project(index))
    const env = { UNSEAL_PROJECTS_FILE: file(JSON.stringify({ projects }, null, 2)) }
    expect(readProjects({ for: "worker", env }).ids).toHaveLength(5_000)
  })

  it("answers a field's earlier name with its present one, and with nothing else", () => {
    const fields = `source: "s3://a", destination: "s3://b", keysDir: k`
    const renamed = "projects[0].keysDir is called keys now: rename it"
    for (const reader of ["worker", "stores"] as const)
      expect(problemsOfFile(reader, `projects: [{ id: 1, ${fields} }]`)).toEqual([renamed])
  })

  it("may name keys by URL, or by a path from its own directory", () => {
    const at = (keys: string) => {
      const fields = { source: "s3://a", destination: "s3://b", keys }
      const env = { UNSEAL_PROJECTS_FILE: file(JSON.stringify({ projects: [{ id: 1, ...fields }] })) }
      return readProjects({ for: "worker", env }).get("1")?.keys
    }
    for (const url of ["file:///run/keys", "awskms:///alias/archives", "pkcs11:token=a"])
      expect(at(url)).toBe(url)
    for (const path of ["keys", "./keys", "a/b:c/../../keys"]) expect(at(path)).toBe(join(directory, "keys"))
    expect(at("/keys")).toBe("/keys")
  })

  it("names the invalid item of a list", () => {
    const problems = problemsOfFile(
      "worker",
      `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: k, sourceKeys: ["{archiveId}", "x"] }]`,
    )
    expect(problems).toEqual(["projects[0].sourceKeys[1] must hold {archiveId}"])
  })
})

describe("a file that two readers read at once", () => {
  it("is reported to both if it can't be used", () => {
    const env = { UNSEAL_PROJECTS_FILE: file("projects: [ {", "broken.yaml") }
    const problem = expect.stringMatching(/line 1 is neither JSON nor YAML/)
    for (const reader of ["worker", "vendor"] as const)
      expect(problemsOf(reader, env)).toEqual(expect.arrayContaining([problem]))
  })

  it("gives each its own fields, and does not mix two files of the same turn", () => {
    const content = (id: number) => `projects:
  - { id: ${id}, source: "file:///in", destination: "file:///out", keys: keys, apiSecretFile: secrets/new }
`
    for (const id of [1, 2]) {
      const env = { UNSEAL_PROJECTS_FILE: file(content(id), `shared-${id}.yaml`) }
      expect(readProjects({ for: "worker", env }).get(String(id))).toMatchObject({ source: "file:///in" })
      expect(readProjects({ for: "vendor", env }).get(String(id))).toMatchObject({
        credentials: { apiSecret: "the new secret of callbacks" },
      })
    }
  })
})
