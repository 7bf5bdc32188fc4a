/** The files that docker-compose.yml names, read by the programs that they are for. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { expect, it } from "vitest"
import { ROOT, readCompose } from "../compose/compose-file.ts"
import { ensureProgram } from "../harness/programs.ts"

const run = promisify(execFile)

it("docker-compose accepts docker-compose.yml, and sees in it what the tests see", async () => {
  const compose = await ensureProgram("docker-compose", { packages: { apt: "docker-compose" } })
  const file = ["--file", join(ROOT, "docker-compose.yml"), "--profile", "monitoring", "--profile", "cli"]
  const { stdout, stderr } = await run(compose, [...file, "config", "--services"])
  expect(stderr).toBe("")
  expect(stdout.trim().split("\n").toSorted()).toEqual(Object.keys(readCompose().services).toSorted())
})

it("promtool accepts Prometheus's configuration", async () => {
  const promtool = await ensureProgram("promtool", { packages: { apt: "prometheus" } })
  const { stdout } = await run(promtool, [
    ...["check", "config", join(ROOT, "observability/prometheus/prometheus.yml")],
  ])
  expect(stdout).toContain("SUCCESS")
})

it("amtool accepts Alertmanager's configuration", async () => {
  const amtool = await ensureProgram("amtool", { packages: { apt: "prometheus-alertmanager" } })
  const { stdout } = await run(amtool, [
    "check-config",
    join(ROOT, "observability/alertmanager/alertmanager.yml"),
  ])
  expect(stdout).toContain("SUCCESS")
})
