import { enter, PROCESSES } from "../../apps/entry.mjs"

await enter({ ...PROCESSES.worker, main: () => import("./worker.ts") })
