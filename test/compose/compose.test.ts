import { execFile, execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { isPasswordOf } from "@unseal/service/password-hash"
import { defaultOf, SETTINGS, type SettingName } from "@unseal/service/settings/table"
import { readConfig as readSimulatorConfig } from "@unseal/simulator/config"
import { settingRows } from "@unseal/simulator/settings"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { readConfig as readConsoleConfig } from "../../apps/console/src/config.ts"
import { readConfig as readIngestConfig } from "../../apps/ingest/src/config.ts"
import { readConfig as readWorkerConfig } from "../../apps/worker/src/config.ts"
import { ROOT, readCompose, readYaml, SECRETS, type Service } from "./compose-file.ts"
import { identities, startContainers, startStore } from "./stores.ts"

const { services, volumes } = readCompose()
const all = Object.entries(services)
const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"))
const isUnseal = ({ image }: Service) => image.startsWith("unseal:")
const own = all.filter(([, service]) => isUnseal(service))
/** The process that a service of ours runs. */
const processOf = ({ command = [] }: Service) =>
  (["ingest", "worker", "console", "simulator"] as const).find((name) => name === command[0]) ?? "cli"

const run = promisify(execFile)

describe("docker-compose.yml", () => {
  it("pins every image to an exact version, ours to this one", () => {
    for (const [name, service] of all)
      expect(service.image, name).toMatch(
        isUnseal(service) ? `unseal:${version}` : /:v?\d+(\.\d+){1,2}(-[a-z]+)?$/,
      )
  })

  it("publishes ports on loopback only, each once", () => {
    const published = all.flatMap(([, { ports = [] }]) => ports)
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    const onHost = published.map((port) => port.split(":")[1])
    expect(new Set(onHost).size).toBe(onHost.length)
  })

  it("limits memory, processors, processes and logs of every service", () => {
    for (const [name, { mem_limit, pids_limit, logging }] of all) {
      expect(mem_limit, name).toMatch(/^\d+[mg]$/)
      expect(pids_limit, name).toBeGreaterThan(0)
      expect(logging.options, name).toEqual({ "max-size": "10m", "max-file": "3" })
    }
  })

  it("asks every service that stays whether it is well, and starts each after what it needs", () => {
    for (const [name, { healthcheck, restart, depends_on = {} }] of all) {
      expect(healthcheck !== undefined, name).toBe(restart === "unless-stopped")
      for (const [needed, { condition }] of Object.entries(depends_on))
        expect(condition, `${name} waits for ${needed}`).toBe(
          services[needed]!.restart === "no" ? "service_completed_successfully" : "service_healthy",
        )
    }
    expect(Object.keys(services.worker!.depends_on!)).toEqual(["redis", "prepare"])
    expect(Object.keys(services.prepare!.depends_on!)).toEqual(["seaweedfs", "azurite"])
    expect(Object.keys(services.simulator!.depends_on!)).toEqual(["ingest", "worker"])
  })

  it("declares the volumes that it uses, and mounts only files that are in the repository", () => {
    const mounts = all.flatMap(([, { volumes: own = [] }]) => own.map((mount) => mount.split(":")[0]!))
    const named = mounts.filter((source) => !source.startsWith("./"))
    expect([...new Set(named)].toSorted()).toEqual([...volumes].toSorted())
    for (const source of mounts.filter((source) => source.startsWith("./"))) {
      const tracked = execFileSync("git", ["ls-files", source], { cwd: ROOT, encoding: "utf8" })
      expect(tracked, `${source} is in the repository`).not.toBe("")
    }
  })

  it("gives no process of Unseal a right, a writable file system, or a key that it does not need", () => {
    for (const [name, service] of own) {
      expect(service, name).toMatchObject({
        ...{ read_only: true, cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"] },
        stop_grace_period: "15s",
      })
      const written = service.volumes!.filter((mount) => !mount.endsWith(":ro"))
      expect(written.length > 0, name).toBe(name === "prepare")
      const hasKeys = service.volumes!.some((mount) => mount.startsWith("keys:"))
      expect(hasKeys, name).toBe(["prepare", "worker", "cli"].includes(name))
    }
    const cloud = Object.keys(services.ingest!.environment!).filter((name) => /^(AWS|AZURE)_/.test(name))
    expect(cloud).toEqual([])
    expect(own.filter(([, { build }]) => build).map(([name]) => name)).toEqual(["prepare"])
  })

  it("runs two workers, and a simulator for each project that records an archive a minute", () => {
    expect(services.worker!.scale).toBe(2)
    const simulators = own.filter(([, service]) => processOf(service) === "simulator")
    expect(simulators).toHaveLength(2)
    for (const [, { environment }] of simulators) {
      expect(environment!.SIMULATOR_ARCHIVES_PER_MINUTE).toBe("1")
      expect(Number(environment!.SIMULATOR_ARCHIVES)).toBeGreaterThan(1_000)
    }
  })

  it("starts monitoring and the command line only when they are asked for", () => {
    const started = (profile: string | undefined) =>
      all.filter(([, { profiles }]) => profiles?.[0] === profile).map(([name]) => name)
    expect(started("monitoring")).toEqual(["prometheus", "alertmanager", "grafana"])
    expect(started("cli")).toEqual(["cli"])
    for (const name of started(undefined))
      for (const needed of Object.keys(services[name]!.depends_on ?? {}))
        expect(services[needed]!.profiles, `${name} needs ${needed}`).toBeUndefined()
  })

  it("names only settings that its processes read", () => {
    const simulators = settingRows().flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))
    const sdks = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING"]
    const only = { prepare: ["AWS_ENDPOINT_URL_S3", "AWS_REGION"] as string[] }
    for (const [name, service] of own)
      for (const setting of Object.keys(service.environment!)) {
        const row = SETTINGS[setting as SettingName] as { for: readonly string[] } | undefined
        const isRead =
          row?.for.includes(processOf(service)) ||
          (processOf(service) === "simulator" && simulators.includes(setting)) ||
          sdks.includes(setting) ||
          (name === "prepare" && only.prepare.includes(setting))
        expect(isRead, `${name} reads ${setting}`).toBe(true)
      }
  })

  it("uses the default ports of the processes, in what it publishes, asks and scrapes", () => {
    const callbacks = defaultOf("UNSEAL_PORT", "ingest")
    const admin = {
      ingest: defaultOf("UNSEAL_ADMIN_PORT", "ingest"),
      worker: defaultOf("UNSEAL_ADMIN_PORT", "worker"),
      console: defaultOf("UNSEAL_ADMIN_PORT", "console"),
    }
    const control = settingRows().find(({ name }) => name === "SIMULATOR_PORT")!.default
    const inside = (name: string) => services[name]!.ports!.map((port) => port.split(":")[2])
    const asked = (name: string) =>
      /:\/\/127\.0\.0\.1:(\d+)/.exec(services[name]!.healthcheck!.test.join(" "))?.[1]

    expect(inside("ingest")).toEqual([callbacks, admin.ingest])
    expect(inside("simulator")).toEqual([control])
    expect(inside("console")).toEqual([defaultOf("UNSEAL_PORT", "console"), admin.console])
    expect(asked("console")).toBe(admin.console)
    expect(asked("ingest")).toBe(admin.ingest)
    expect(asked("worker")).toBe(admin.worker)
    expect(asked("simulator")).toBe(control)
    expect(asked("simulator-azure")).toBe(control)
    const { scrape_configs: jobs } = readYaml("observability/prometheus/prometheus.yml") as {
      scrape_configs: { dns_sd_configs: { names: string[]; port: number }[] }[]
    }
    expect(
      jobs.flatMap((job) => job.dns_sd_configs).map(({ names, port }) => [...names, String(port)]),
    ).toEqual([
      ["ingest", admin.ingest],
      ["worker", admin.worker],
      ["console", admin.console],
    ])
    for (const [, { environment = {} }] of own) {
      const url = environment.SIMULATOR_CALLBACK_URL
      if (url) expect(url).toBe(`http://ingest:${callbacks}/callbacks/${environment.SIMULATOR_PROJECT_ID}`)
    }
  })

  it("has Grafana read the boards from where they are mounted", () => {
    const { providers } = readYaml("observability/grafana/provisioning/dashboards/unseal.yml") as {
      providers: { options: { path: string } }[]
    }
    const [mounted, at] = services.grafana!.volumes!.find((mount) => mount.startsWith("./"))!.split(":")
    expect(services.grafana!.environment!.GF_PATHS_PROVISIONING).toBe(`${at}/provisioning`)
    const folder = join(ROOT, mounted!, providers[0]!.options.path.slice(at!.length))
    expect(providers.map(({ options }) => options.path)).toEqual([`${at}/dashboards`])
    expect(readdirSync(folder)).toContain("unseal-overview.json")
  })

  it("has a console whose user has the password that the file says", async () => {
    const { environment, volumes: mounts } = services.console!
    const [source, target] = mounts![0]!.split(":") as [string, string]
    expect(environment!.UNSEAL_CONSOLE_USERS_FILE).toBe(target)
    const path = join(ROOT, source)
    const { users, UNSEAL_CONSOLE_WRITE } = readConsoleConfig({
      ...environment!,
      UNSEAL_CONSOLE_USERS_FILE: path,
    })
    expect(UNSEAL_CONSOLE_WRITE).toBe(true)
    const said = /user (\w+), password ([\w-]+)\./.exec(
      readFileSync(join(ROOT, "docker-compose.yml"), "utf8"),
    )!
    const user = users!.get(said[1]!)!
    expect(user.role).toBe("operator")
    expect(await isPasswordOf(user.hash, Buffer.from(said[2]!))).toBe(true)
    expect(readFileSync(join(ROOT, "docs/compose.md"), "utf8")).toContain(`password \`${said[2]}\``)
  })

  it("knows the keys of its S3 store, and sends requests to services that are there", () => {
    const keys = Object.fromEntries(
      identities().map(({ accessKeyId, secretAccessKey }) => [accessKeyId, secretAccessKey]),
    )
    for (const [name, { environment = {} }] of own)
      if (environment.AWS_ACCESS_KEY_ID)
        expect(environment.AWS_SECRET_ACCESS_KEY, name).toBe(keys[environment.AWS_ACCESS_KEY_ID])
    const texts = [readFileSync(join(ROOT, "docker-compose.yml"), "utf8")]
    for (const path of [
      "compose/projects.yaml",
      "observability/grafana/provisioning/datasources/prometheus.yml",
    ])
      texts.push(readFileSync(join(ROOT, path), "utf8"))
    for (const [, host] of texts.join("\n").matchAll(/\w+:\/\/([a-z-]+):\d+/g))
      expect(Object.keys(services)).toContain(host)
  })
})

describe("compose/prepare.mjs", () => {
  const directory = mkdtempSync(join(tmpdir(), "unseal-compose-"))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  const files = () =>
    readdirSync(directory, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(directory, name)).isFile())
      .toSorted()
  const contents = () => files().map((name) => readFileSync(join(directory, name), "utf8"))
  /** The settings of a service, with its files where they were made. */
  const settingsOf = (name: string) => {
    const moved = (text: string) =>
      text
        .replaceAll(SECRETS, directory)
        .replace("/etc/unseal/projects.yaml", join(directory, "projects.yaml"))
    const { environment } = services[name]!
    return Object.fromEntries(Object.entries(environment!).map(([setting, value]) => [setting, moved(value)]))
  }
  let store: Awaited<ReturnType<typeof startStore>>
  let containers: Awaited<ReturnType<typeof startContainers>>
  beforeAll(async () => {
    store = await startStore("127.0.0.1", 0)
    containers = await startContainers()
  })
  afterAll(async () => {
    await store.close()
    await containers.close()
  })
  const prepare = () =>
    run(process.execPath, ["compose/prepare.mjs", directory], {
      cwd: ROOT,
      timeout: 120_000,
      env: {
        PATH: process.env.PATH,
        ...services.prepare!.environment,
        AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${store.port}`,
        AZURE_STORAGE_CONNECTION_STRING:
          services.prepare!.environment!.AZURE_STORAGE_CONNECTION_STRING!.replace(
            "azurite:10000",
            `127.0.0.1:${containers.port}`,
          ),
      },
    })

  it("makes every file and bucket that the processes name, which then accept their settings", async () => {
    await prepare()
    writeFileSync(
      join(directory, "projects.yaml"),
      readFileSync(join(ROOT, "compose/projects.yaml"), "utf8").replaceAll(SECRETS, directory),
    )
    expect(containers.created).toEqual(["recordings", "decrypted"])
    const ingest = readIngestConfig(settingsOf("ingest"))
    const worker = readWorkerConfig(settingsOf("worker"))
    const simulators = ["simulator", "simulator-azure"].map((name) => readSimulatorConfig(settingsOf(name)))
    const named = simulators.map(({ SIMULATOR_PROJECT_ID: id }) => id)
    expect(ingest.projects.ids).toEqual(named)
    expect(worker.projects.ids).toEqual(named)
    for (const { SIMULATOR_CERTIFICATE_FILE: certificate } of simulators)
      expect(readFileSync(certificate!, "utf8")).toContain("BEGIN CERTIFICATE")
  })

  it("leaves what is there as it is", async () => {
    const before = contents()
    await prepare()
    expect(contents()).toEqual(before)
  })

  it("ends what an interrupted run began", async () => {
    const lost = ["vendor/123456-cert.pem", "callbacks/123456.signature", "vendor/application.pem"]
    const before = new Map(files().map((name) => [name, readFileSync(join(directory, name), "utf8")]))
    for (const name of lost) rmSync(join(directory, name))
    await prepare()
    expect(files()).toEqual([...before.keys()])
    expect(readFileSync(join(directory, lost[0]!), "utf8")).toBe(before.get(lost[0]!))
  })
})
