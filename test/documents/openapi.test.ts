/** Ingest's openapi.json under redocly's recommended rules, as its users lint it. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import { openApiDocument } from "../../apps/ingest/src/openapi.ts"
import { installPackages } from "../harness/packages.ts"

interface Problem {
  readonly ruleId: string
  readonly severity: string
  readonly message: string
}

/** What redocly finds in `document`, warnings too. Nothing is asked of the network. */
async function problemsOf(document: object): Promise<Problem[]> {
  const folder = await installPackages("redocly")
  const directory = await mkdtemp(join(tmpdir(), "unseal-openapi-"))
  try {
    await writeFile(join(directory, "openapi.json"), JSON.stringify(document))
    const cli = join(folder, "node_modules/@redocly/cli/bin/cli.js")
    const args = [cli, "lint", "openapi.json", "--extends", "recommended", "--format", "json"]
    const { PATH = "", HOME = "" } = process.env
    const env = { PATH, HOME, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true", CI: "true" }
    const output = await new Promise<string>((resolve, reject) => {
      // It ends with 1 if there are errors; they are in its output.
      execFile(process.execPath, args, { cwd: directory, env, timeout: 120_000 }, (error, stdout, stderr) => {
        if (stdout.includes("{")) resolve(stdout)
        else reject(new Error(`redocly said nothing: ${error?.message ?? ""}\n${stderr}`))
      })
    })
    return (JSON.parse(output.slice(output.indexOf("{"))) as { problems: Problem[] }).problems
  } finally {
    await rm(directory, { recursive: true })
  }
}

it("openapi.json is clean under redocly's recommended rules", async () => {
  expect(await problemsOf(openApiDocument())).toEqual([])
})

it("redocly finds what is missing in a document that lacks it", async () => {
  const { servers: _, info, ...rest } = openApiDocument() as { servers: unknown; info: { license?: unknown } }
  const { license: __, ...bare } = info
  const rules = (await problemsOf({ ...rest, info: bare })).map(({ ruleId }) => ruleId)
  expect(rules).toEqual(expect.arrayContaining(["info-license", "no-empty-servers"]))
})
