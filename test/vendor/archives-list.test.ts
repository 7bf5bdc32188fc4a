/** `unseal archives list`, as processes, against the simulated REST API of both platforms. */
import { writeFile } from "node:fs/promises"
import { beforeAll, describe, expect, it } from "vitest"
import { customerOf } from "./customer.ts"
import { API_SECRET } from "./simulated-vendor.ts"

describe.each(["opentok", "vonage"] as const)("a customer of %s", (platform) => {
  const customer = customerOf(platform)

  describe("archives list", () => {
    let ids: string[]
    beforeAll(async () => {
      await customer.run(["storage", "set", ...customer.toS3(), ...customer.certified()])
      for (let index = 0; index < 3; index++) await customer.vendor.cloud.record({ size: 752 })
      await customer.vendor.cloud.record({ size: 752, statuses: ["started", "failed"] })
      ids = [...customer.vendor.cloud.archives.keys()].reverse()
    })

    it("shows a row for each, newest first", async () => {
      const { code, stdout, stderr } = await customer.run(["archives", "list"])
      expect(code).toBe(0)
      const rows = stdout.trimEnd().split("\n")
      expect(rows.map((row) => row.split(/\s+/)[1])).toEqual(ids)
      expect(rows[0]).toMatch(/^\d{4}-\d\d-\d\dT\S+Z +\S{36} +failed +0 +no password$/)
      expect(rows[1]).toMatch(/uploaded +768 +encrypted$/)
      expect(stderr).toContain(`${ids.length} archives`)
    })

    it("gives JSON without passwords, unless they are asked for", async () => {
      const { stdout } = await customer.run(["archives", "list", "--json", "--limit", "2"])
      const listed = JSON.parse(stdout)
      expect(listed.map((archive: { archiveId: string }) => archive.archiveId)).toEqual(ids.slice(0, 2))
      expect(listed[1]).toMatchObject({
        status: "uploaded",
        size: 768,
        encrypted: true,
        projectId: customer.vendor.projectId,
      })
      const password = customer.vendor.cloud.archives.get(ids[1]!)!.recording!.encryptedPassword
      expect(stdout).not.toContain(password)
      const all = await customer.run([
        "archives",
        "list",
        "--json",
        "--all-fields",
        "--status",
        "uploaded",
        "--limit",
        "1",
      ])
      expect(JSON.parse(all.stdout)).toMatchObject([
        { archiveId: ids[1], encryptedPassword: password, url: null },
      ])
    })
  })

  it("a project of the projects file is reached by its id", async () => {
    const { UNSEAL_PROJECT_ID: id, UNSEAL_API_URL: apiUrl } = customer.vendor.env
    await writeFile(customer.path("api-secret"), API_SECRET)
    const secret =
      platform === "opentok" ? { apiSecretFile: "api-secret" } : { applicationKeyFile: "application.pem" }
    const projects = [{ id, apiUrl, ...secret }, { id: "999" }]
    await writeFile(customer.path("projects.json"), JSON.stringify({ projects }))
    const env = { UNSEAL_PROJECTS_FILE: customer.path("projects.json") }
    const list = async (args: string[]) => {
      const { code, stderr } = await customer.runWith(env, ["archives", "list", "--json", ...args])
      return { code, stderr }
    }
    expect(await list(["--project", id!])).toMatchObject({ code: 0 })
    expect(await list([])).toMatchObject({ code: 2, stderr: expect.stringContaining("which project?") })
    expect(await list(["--project", "999"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no credentials"),
    })
    expect(await list(["--project", "1000"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no project 1000"),
    })
  })
})
