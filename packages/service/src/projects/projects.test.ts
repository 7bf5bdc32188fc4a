import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { directory, problemsOf, TOKEN, UUID } from "../../../../test/harness/projects-file.ts"
import { readProjects } from "./projects.ts"

const WORKER = {
  UNSEAL_PROJECT_ID: "123456",
  UNSEAL_SOURCE: "s3://in/archives?region=eu-central-1",
  UNSEAL_DESTINATION: "file:///out",
  UNSEAL_KEYS: "keys",
}

describe("a single project", () => {
  it("has what the worker needs, with the default templates", () => {
    const projects = readProjects({ for: "worker", env: WORKER })
    expect(projects.ids).toEqual(["123456"])
    expect(projects.get("123456")).toEqual({
      id: "123456",
      source: "s3://in/archives?region=eu-central-1",
      destination: "file:///out",
      sourceKeys: ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"],
      destinationKey: "{projectId}/{archiveId}/archive.ts",
      keys: "keys",
      limits: {},
    })
    expect(projects.get("toString")).toBeUndefined()
  })

  it("has what ingest needs, and two secrets while one is rotated", () => {
    const env = {
      UNSEAL_PROJECT_ID: UUID.toUpperCase(),
      UNSEAL_SIGNATURE_SECRET: "the old secret of callbacks, the new secret of callbacks",
    }
    expect(readProjects({ for: "ingest", env }).get(UUID)).toEqual({
      id: UUID,
      callbackAuth: "signed",
      signatureSecrets: ["the old secret of callbacks", "the new secret of callbacks"],
    })
  })

  it("has a token, which may be in a file", () => {
    const env = {
      UNSEAL_PROJECT_ID: "1",
      UNSEAL_CALLBACK_AUTH: "token",
      UNSEAL_CALLBACK_TOKEN_FILE: join(directory, "secrets/token"),
    }
    expect(readProjects({ for: "ingest", env }).get("1")).toEqual({
      id: "1",
      callbackAuth: "token",
      signatureSecrets: [],
      callbackToken: TOKEN,
    })
  })

  it("is read without the other process's variables, so that an unreadable secret file of those does not matter", () => {
    const env = {
      ...WORKER,
      UNSEAL_SIGNATURE_SECRET_FILE: "/no/such/secret",
      UNSEAL_CALLBACK_TOKEN_FILE: "/no/such/token",
    }
    expect(readProjects({ for: "worker", env }).get("123456")).not.toHaveProperty("signatureSecrets")
    const ingest = { ...WORKER, UNSEAL_SOURCE: "nonsense", UNSEAL_SIGNATURE_SECRET: "s".repeat(16) }
    expect(Object.keys(readProjects({ for: "ingest", env: ingest }).get("123456") ?? {})).toEqual([
      "id",
      "callbackAuth",
      "signatureSecrets",
    ])
  })

  it("with a secret that can't be read has only that problem", () => {
    const env = { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET_FILE: "/no/such/file" }
    expect(problemsOf("ingest", env)).toEqual([
      "UNSEAL_SIGNATURE_SECRET_FILE: /no/such/file can't be read (ENOENT)",
    ])
  })

  it("may be open to everybody only if that is said twice", () => {
    const env = { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "none" }
    expect(problemsOf("ingest", env)).toEqual([
      "UNSEAL_CALLBACK_AUTH is none, so anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if you want that",
    ])
    const allowed = { ...env, UNSEAL_ALLOW_UNAUTHENTICATED: "1" }
    expect(readProjects({ for: "ingest", env: allowed }).get("1")?.callbackAuth).toBe("none")
  })

  it.each<[string, Record<string, string>, string]>([
    [
      "no secret",
      { UNSEAL_PROJECT_ID: "1" },
      "UNSEAL_SIGNATURE_SECRET is missing, and callbacks are authenticated by their signature",
    ],
    [
      "an empty second secret",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET: "a secret that is long," },
      "UNSEAL_SIGNATURE_SECRET is missing",
    ],
    [
      "three secrets",
      {
        UNSEAL_PROJECT_ID: "1",
        UNSEAL_SIGNATURE_SECRET: "hunter2-hunter2-hunter2,b-123456789012345,c-123456789012345",
      },
      "UNSEAL_SIGNATURE_SECRET holds more than two secrets: the old one and the new one are enough to rotate",
    ],
    [
      "a secret that was cut",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET: "hunter2-hunter2" },
      "UNSEAL_SIGNATURE_SECRET has 15 bytes, and a signature secret has at least 16: copy all of it",
    ],
    [
      "no token",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "token" },
      "UNSEAL_CALLBACK_TOKEN is missing, and callbacks are authenticated by token",
    ],
    [
      "a short token",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "token", UNSEAL_CALLBACK_TOKEN: "hunter2" },
      "UNSEAL_CALLBACK_TOKEN must have 16 to 256 characters, only letters, digits and - . _ ~",
    ],
    [
      "an unknown mode",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "open" },
      "UNSEAL_CALLBACK_AUTH must be signed, token or none",
    ],
    [
      "an id of another form",
      { UNSEAL_PROJECT_ID: "../1", UNSEAL_SIGNATURE_SECRET: "s".repeat(16) },
      "UNSEAL_PROJECT_ID must be an OpenTok API key (digits) or a Vonage application id (UUID)",
    ],
    [
      "no project",
      {},
      "there is no project: set UNSEAL_PROJECTS_FILE, or UNSEAL_PROJECT_ID and the settings that go with it",
    ],
    [
      "both forms",
      { UNSEAL_PROJECTS_FILE: "/x", UNSEAL_PROJECT_ID: "1" },
      "UNSEAL_PROJECTS_FILE and UNSEAL_PROJECT_ID are both set: keep the file or the variables",
    ],
  ])("is refused with %s", (_name, env, problem) => {
    const problems = problemsOf("ingest", env)
    expect(problems).toContain(problem)
    expect(problems.join()).not.toContain("hunter2")
  })

  it.each<[string, Record<string, string>, string]>([
    ["no source", { UNSEAL_SOURCE: "" }, "UNSEAL_SOURCE is missing"],
    [
      "an unknown scheme",
      { UNSEAL_SOURCE: "gs://bucket" },
      "UNSEAL_SOURCE has the scheme gs:// where s3://, azure:// or file:// is needed",
    ],
    [
      "no URL",
      { UNSEAL_DESTINATION: "/out" },
      "UNSEAL_DESTINATION is not a URL: s3://bucket/prefix, azure://container/prefix or file:///directory",
    ],
    ["no bucket", { UNSEAL_SOURCE: "s3:///prefix" }, "UNSEAL_SOURCE names no bucket"],
    [
      "a credential in the URL",
      { UNSEAL_SOURCE: "s3://key:hunter2@bucket" },
      "UNSEAL_SOURCE holds a credential: those come from the SDK's own chain, or from a named profile",
    ],
    [
      "a relative directory",
      { UNSEAL_DESTINATION: "file://out/x" },
      "UNSEAL_DESTINATION names a host: a directory is file:///directory",
    ],
    [
      "a broken escape",
      { UNSEAL_DESTINATION: "file:///out%zz" },
      "UNSEAL_DESTINATION holds a % that begins no UTF-8 escape",
    ],
    [
      "a template without the archive",
      { UNSEAL_DESTINATION_KEY: "{projectId}/archive.ts" },
      "UNSEAL_DESTINATION_KEY must hold {archiveId}",
    ],
    [
      "an unknown placeholder",
      { UNSEAL_SOURCE_KEYS: "{archiveId}.ts,{archiveId}/{name}.ts" },
      "UNSEAL_SOURCE_KEYS holds {name}: only {projectId} and {archiveId} are known",
    ],
    [
      "a half placeholder",
      { UNSEAL_DESTINATION_KEY: "{archiveId}/{x" },
      "UNSEAL_DESTINATION_KEY holds {: only {projectId} and {archiveId} are known",
    ],
    [
      "a way out of the prefix",
      { UNSEAL_DESTINATION_KEY: "../{archiveId}" },
      "UNSEAL_DESTINATION_KEY must be a relative path without empty, . or .. segments",
    ],
    [
      "an absolute template",
      { UNSEAL_DESTINATION_KEY: "/{archiveId}" },
      "UNSEAL_DESTINATION_KEY must be a relative path without empty, . or .. segments",
    ],
  ])("is refused for the worker with %s", (_name, change, problem) => {
    const problems = problemsOf("worker", { ...WORKER, ...change })
    expect(problems).toEqual([problem])
    expect(problems.join()).not.toContain("hunter2")
  })

  it("may not write the plaintext over the ciphertext, however bucket and prefix are divided", () => {
    const same = "UNSEAL_DESTINATION_KEY names the same object as a source key"
    const at = (source: string, destination: string, key = "{projectId}/{archiveId}/archive.ts") =>
      problemsOf("worker", {
        ...WORKER,
        UNSEAL_SOURCE: source,
        UNSEAL_DESTINATION: destination,
        UNSEAL_DESTINATION_KEY: key,
      })
    expect(at("s3://b/p", "s3://b/p")[0]).toContain(same)
    expect(at("s3://b/p?region=x", "s3://b/p/?profile=y")[0]).toContain(same)
    expect(at("s3://b/p", "s3://b", "p/{projectId}/{archiveId}/archive.mp4")[0]).toContain(same)
    expect(at("s3://b/p", "s3://b/p", "{projectId}/{archiveId}/plain.ts")).toEqual([])
    expect(at("s3://b/p", "s3://b/q")).toEqual([])
    expect(at("s3://b/p?endpoint=http://a", "s3://b/p?endpoint=http://b")).toEqual([])
    expect(at("azure://c?account=a", "azure://c?account=b")).toEqual([])
  })
})
