/** The vendor's REST API for a world's archives, and the reconciler that uses it. */
import { readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { Archive, RecordingCloud } from "@unseal/simulator/cloud"
import { startRestServer } from "@unseal/simulator/rest/server"
import { runCli } from "@unseal/test/harness/process"
import { PROJECT } from "../settings.ts"
import { subjectOf } from "./callbacks.ts"
import type { World } from "./world.ts"

const API_SECRET = "chaos-api-secret-0123456789"

export interface Vendor {
  /** Runs `unseal archives reconcile`. Resolves to the number of archives that it has enqueued. */
  reconcile(): Promise<number>
  close(): Promise<void>
}

/** Lists every archive that was announced, whatever its callback led to, each under its own project. */
export async function startVendor(world: World): Promise<Vendor> {
  world.secrets.add(API_SECRET)
  const file = world.workerEnv.UNSEAL_PROJECTS_FILE
  const { projects } = file ? (JSON.parse(await readFile(file, "utf8")) as Projects) : { projects: [ONLY] }
  const servers = await Promise.all(
    projects.map(({ id: projectId }) =>
      startRestServer({
        projectId,
        credentials: { scheme: "opentok", apiSecret: API_SECRET },
        cloud: cloudOf(world, projectId) as RecordingCloud,
      }),
    ),
  )
  const urls = servers.map(({ url }) => url)
  const env = {
    ...world.workerEnv,
    ...(file
      ? { UNSEAL_PROJECTS_FILE: await writeProjects(file, projects, urls) }
      : { UNSEAL_API_SECRET: API_SECRET, UNSEAL_API_URL: urls[0]! }),
  }
  return {
    async reconcile() {
      const { code, stdout, stderr } = await runCli(["archives", "reconcile", "--json"], { env })
      if (code !== 0) throw new Error(`the reconciler ended with ${code}: ${stderr}`)
      const found = JSON.parse(stdout.toString()) as { projects: { enqueued: unknown[] }[] }
      const enqueued = found.projects.reduce((sum, project) => sum + project.enqueued.length, 0)
      world.fault(`reconciled: ${enqueued} enqueued`)
      return enqueued
    },
    close: () => Promise.all(servers.map((server) => server.close())).then(() => {}),
  }
}

interface Projects {
  readonly projects: readonly { readonly id: string }[]
}

const ONLY = { id: PROJECT }

const cloudOf = (world: World, projectId: string): Pick<RecordingCloud, "archives"> => ({
  get archives() {
    const own = world.answers.filter(({ archive }) => archive.projectId === projectId)
    const archives = own.map(({ archive }): [string, Archive] => [
      archive.archiveId,
      {
        ...subjectOf(archive),
        recording: { ...archive, contentSize: archive.size },
        ...{ key: archive.sourceKey, tail: "pkcs7", status: "uploaded", callbacks: [] },
      },
    ])
    return new Map(archives)
  },
})

/** Writes a projects file next to the world's, which says where each project's archives are listed. */
async function writeProjects(
  file: string,
  projects: Projects["projects"],
  urls: readonly string[],
): Promise<string> {
  const directory = dirname(file)
  const [path, apiSecretFile] = [join(directory, "vendor-projects.json"), join(directory, "api-secret")]
  await writeFile(apiSecretFile, API_SECRET)
  const listed = projects.map((project, index) => ({ ...project, apiSecretFile, apiUrl: urls[index] }))
  await writeFile(path, JSON.stringify({ projects: listed }))
  return path
}
