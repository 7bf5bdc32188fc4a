import { runIngest } from "./process.ts"

await runIngest()
