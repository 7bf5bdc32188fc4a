/** Ingest's main, optionally without its protection from forged callbacks (`RIG=1`, test/harness/process.ts). */
import { runIngest } from "../../apps/ingest/src/process.ts"
import { isOff, readRigSettings } from "./settings.ts"

await runIngest({
  ...(isOff(readRigSettings(), "password-in-job-id") && {
    jobIdOf: ({ projectId, archiveId }) => `${projectId}_${archiveId}`,
  }),
})
