/** Ingest's main, as it would be without its protection from forged callbacks if that is left out (`RIG=1`, test/harness/process.ts). */
import { runIngest } from "../../apps/ingest/src/process.ts"
import { isOff, readRigSettings } from "./settings.ts"

await runIngest({
  ...(isOff(readRigSettings(), "password-in-job-id") && {
    jobIdOf: ({ projectId, archiveId }) => `${projectId}_${archiveId}`,
  }),
})
