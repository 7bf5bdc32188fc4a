/** The vendor's REST API over the archives of a world, and the reconciler that asks it. */
import type { Archive, RecordingCloud } from "@unseal/simulator/cloud"
import { startRestServer } from "@unseal/simulator/rest/server"
import { runCli } from "@unseal/test/harness/process"
import { subjectOf } from "./callbacks.ts"
import { PROJECT } from "./settings.ts"
import type { World } from "./world.ts"

const API_SECRET = "chaos-api-secret-0123456789"

export interface Vendor {
  /** Runs `unseal archives reconcile`. Resolves with the number of archives that it has enqueued. */
  reconcile(): Promise<number>
  close(): Promise<void>
}

/** It lists every archive that was called, whatever came of the callback. */
export async function startVendor(world: World): Promise<Vendor> {
  world.secrets.add(API_SECRET)
  const cloud: Pick<RecordingCloud, "archives"> = {
    get archives() {
      const archives = world.answers.map(({ archive }): [string, Archive] => [
        archive.archiveId,
        {
          ...subjectOf(archive),
          recording: { ...archive, contentSize: archive.size },
          ...{ key: archive.sourceKey, tail: "pkcs7", status: "uploaded", callbacks: [] },
        },
      ])
      return new Map(archives)
    },
  }
  const rest = await startRestServer({
    projectId: PROJECT,
    credentials: { scheme: "opentok", apiSecret: API_SECRET },
    cloud: cloud as RecordingCloud,
  })
  const env = { ...world.workerEnv, UNSEAL_API_SECRET: API_SECRET, UNSEAL_API_URL: rest.url }
  return {
    async reconcile() {
      const { code, stdout, stderr } = await runCli(["archives", "reconcile", "--json"], { env })
      if (code !== 0) throw new Error(`the reconciler ended with ${code}: ${stderr}`)
      const { projects } = JSON.parse(stdout.toString()) as { projects: [{ enqueued: unknown[] }] }
      world.fault(`reconciled: ${projects[0].enqueued.length} enqueued`)
      return projects[0].enqueued.length
    },
    close: () => rest.close(),
  }
}
