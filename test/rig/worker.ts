/** The worker's main with the rig around each run, for tests that start it so (`RIG=1`, test/harness/process.ts). */
import { runWorker } from "../../apps/worker/src/process.ts"
import { createRig } from "./decorator.ts"
import { isOff, readRigSettings } from "./settings.ts"

const settings = readRigSettings()
await runWorker({
  decorators: (logger) => [createRig(settings, logger)],
  handsBack: !isOff(settings, "hand-back"),
  ...(settings.storeIdleMs && { stores: { idleTimeoutMs: settings.storeIdleMs } }),
  consumer: {
    ...(settings.watchdog && { watchdog: settings.watchdog }),
    ...(isOff(settings, "lock-renewal") && { lockRenewal: "by-job" }),
  },
})
