import { runConsole } from "./process.ts"

await runConsole()
