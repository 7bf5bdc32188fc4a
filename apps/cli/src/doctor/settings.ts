/** Whether the processes take their settings, and what they say if not. */
import { counted } from "@unseal/archive/counted"
import type { Check } from "@unseal/operations/doctor/doctor"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { env } from "../config.ts"
import { type DoctorProcess, getProcess } from "./processes.ts"

/** One check for each process: its own reader's verdict on this environment and the projects, with every problem. */
export async function examineSettings(processes: readonly DoctorProcess[]): Promise<readonly Check[]> {
  return Promise.all(
    processes.map(async (process): Promise<Check> => {
      const name = `settings of ${process}`
      const { readConfig } = await getProcess(process)()
      try {
        readConfig(env)
        return { name, status: "ok", seen: "it takes its settings and its projects", moves: [] }
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error
        const { problems } = error
        return {
          ...{ name, status: "failed" },
          seen: `${counted(problems.length, "problem")}: ${problems.join("; ")}`,
          moves: [{ whose: "operator", what: "correct them (docs/settings.md, docs/projects.md)" }],
        }
      }
    }),
  )
}
