import { runWorker } from "./process.ts"

await runWorker()
