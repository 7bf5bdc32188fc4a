/** promtool, on files that the tests write. */
import { execFile } from "node:child_process"
import { ensureProgram } from "../harness/programs.ts"

/** Runs promtool; resolves to what it says, and whether it is content. Installs it if it is missing. */
export async function promtool(...args: readonly string[]): Promise<{ ok: boolean; said: string }> {
  const program = await ensureProgram("promtool", {
    packages: { apt: "prometheus", dnf: "golang-github-prometheus", apk: "prometheus", brew: "prometheus" },
  })
  return new Promise((resolve) =>
    execFile(program, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ ok: error === null, said: `${stdout}${stderr}` }),
    ),
  )
}
