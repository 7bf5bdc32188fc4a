import { enter, PROCESSES } from "../../apps/entry.mjs"

await enter({ ...PROCESSES.ingest, main: () => import("./ingest.ts") })
