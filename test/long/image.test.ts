/** The image of the Dockerfile, built on a base of our own, and docker-compose.yml's processes in it. Needs root and Linux. */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { load } from "js-yaml"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ROOT, readCompose } from "../compose/compose-file.ts"
import { makeBaseImage } from "./machine/base-image.ts"
import { type ComposeRun, composeUp } from "./machine/compose-up.ts"
import { type BuiltImage, buildImage } from "./machine/image.ts"

const MAX_COMPRESSED_BYTES = 200e6
/** As the README's "Without Unseal". $1 is the private key, beside its passphrase. */
const BY_OPENSSL = `openssl enc -base64 -d -A -in password.b64 |
  openssl pkeyutl -decrypt -pkeyopt rsa_padding_mode:oaep -inkey "$1" -passin "file:\${1%.pem}.passphrase" -out password.bin
openssl enc -d -aes-256-cbc -nopad -in archive.enc -out archive.ts -K $(xxd -s 3 -l 32 -c 32 -p password.bin) -iv $(xxd -s 35 -l 16 -c 16 -p password.bin)`
const run = promisify(execFile)
const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"))

let directory: string
let image: BuiltImage
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-image-"))
  await makeBaseImage(join(directory, "storage"), "localhost/base:1")
  image = await buildImage(join(directory, "storage"), "localhost/base:1")
})
afterAll(async () => {
  await image?.close()
  await rm(directory, { recursive: true, force: true })
})

describe("the image", () => {
  it("is at most 200 MB when it is compressed", async () => {
    const layers = await image.compressedBytes()
    const sum = layers.reduce((total, bytes) => total + bytes, 0)
    console.log(
      `image: ${(sum / 1e6).toFixed(1)} MB compressed, ${layers.map((bytes) => (bytes / 1e6).toFixed(1))}`,
    )
    expect(sum).toBeLessThanOrEqual(MAX_COMPRESSED_BYTES)
  })

  it("runs Node as process 1, as an unprivileged user, with labels and without a health check", () => {
    expect(image.raw).toMatchObject({
      User: "10001:10001",
      Entrypoint: ["/usr/local/bin/node", "/app/node_modules/.bin/unseal"],
      WorkingDir: "/app",
      Labels: {
        "org.opencontainers.image.title": "Unseal",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": expect.stringMatching(/^[0-9a-f]{40}$/),
      },
    })
    expect(image.raw).not.toHaveProperty("Healthcheck")
  })

  it("holds the dependencies of production in the lockfile's versions, and nothing that builds or tests", async () => {
    const { packages: locked } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"))
    const known = new Set(
      Object.entries<{ version: string; dev?: boolean }>(locked).map(
        ([path, { version: its }]) => `${path.slice(path.lastIndexOf("node_modules/") + 13)}@${its}`,
      ),
    )
    const { packages } = JSON.parse(
      await readFile(join(image.root, "app/node_modules/.package-lock.json"), "utf8"),
    )
    const installed = Object.entries<{ version: string; dev?: boolean }>(packages).map(
      ([path, { version: its }]) => `${path.slice(path.lastIndexOf("node_modules/") + 13)}@${its}`,
    )
    expect(installed.length).toBeGreaterThan(100)
    expect(installed.filter((id) => !known.has(id))).toEqual([`unseal@${version}`])
    for (const name of ["vitest", "typescript", "turbo", "node"])
      expect(installed.filter((id) => id.startsWith(`${name}@`))).toEqual([])
    expect(await readdir(join(image.root, "usr/local/bin"))).toEqual(["node"])
    expect((await readdir(join(image.root, "app"))).toSorted()).toEqual([
      ...["node_modules", "package-lock.json", "package.json"],
    ])
  })

  it("has no file that its user may change, except the folders of keys and secrets, and no program that gives rights", async () => {
    const writable = await image.find(
      "-xdev",
      "(",
      "-uid",
      "10001",
      "-o",
      "-perm",
      "-0002",
      ")",
      "-not",
      "-type",
      "l",
    )
    const places = writable.filter((path) => !/^\/(tmp|var\/tmp|run\/lock|dev\/\w+)$/.test(path))
    expect(places.toSorted()).toEqual([
      ...["/var/lib/unseal", "/var/lib/unseal/callbacks", "/var/lib/unseal/keys", "/var/lib/unseal/vendor"],
    ])
    expect(await image.find("-xdev", "-type", "f", "-perm", "/6000")).toEqual([])
  })
})

describe("docker-compose.yml's processes in it", () => {
  const { services } = readCompose()
  let up: ComposeRun
  beforeAll(async () => {
    up = await composeUp(image)
  })
  afterAll(() => up?.close())

  it("become healthy in the file's order, confined, as process 1", async () => {
    expect(up.containers.map(({ service }) => service)).toEqual([
      ...["ingest", "console", "worker", "worker", "simulator", "simulator-azure"],
    ])
    for (const { service, container } of up.containers) {
      const status = await readFile(`/proc/${container.pid}/status`, "utf8")
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]
      expect(field("NSpid"), service).toMatch(/\t1$/)
      expect(field("Uid"), service).toBe("10001\t10001\t10001\t10001")
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(field(set)).toMatch(/^0+$/)
      expect(field("NoNewPrivs")).toBe("1")
      const touch =
        "try { fs.writeFileSync('/app/x', ''); process.exit(1) } catch (error) { process.exit(error.code === 'EROFS' ? 0 : 2) }"
      expect(await container.exec(["node", "-e", touch]), `${service} can't write`).toBe(0)
    }
  })

  it("decrypt an archive of each project, as the command line shows", async () => {
    const deadline = Date.now() + 240_000
    let shown = ""
    while (Date.now() < deadline && !/= ([2-9]|\d\d+) committed \+ 0 dead letters/.test(shown)) {
      await sleep(1_000)
      const { code, output } = await up.runOnce("cli", ["queue", "status"])
      expect(code, output).toBe(0)
      shown = output
    }
    expect(shown).toMatch(/= \d+ committed \+ 0 dead letters/)
    for (const name of ["simulator", "simulator-azure"]) {
      const id = services[name]!.environment!.SIMULATOR_PROJECT_ID!
      const { output } = await up.runOnce("cli", ["archives", "list", "--project", id])
      expect(output, name).toMatch(/[0-9a-f-]{36}/)
    }
    const { body } = await up.get("simulator", "http://ingest:9090/metrics")
    expect(body).toMatch(/unseal_callbacks_total\{[^}]*outcome="enqueued"[^}]*\} [1-9]/)
  })

  it("make the recordings that openssl makes with the volume's key, for each project", async () => {
    const { projects } = load(await readFile(join(ROOT, "compose/projects.yaml"), "utf8")) as {
      projects: { id: string | number; source: string; destination: string }[]
    }
    for (const [index, name] of ["simulator", "simulator-azure"].entries()) {
      const project = projects.find(
        ({ id }) => String(id) === services[name]!.environment!.SIMULATOR_PROJECT_ID,
      )!
      const ask = async (path: string) => JSON.parse((await up.get(name, `http://${name}:8082${path}`)).body)
      const archives = (await ask("/archives")) as { id: string; key: string; status: string }[]
      const { id, key } = archives.filter(({ status }) => status === "uploaded").at(-1)!
      const { recording } = await ask(`/archives/${id}`)
      const scratch = join(directory, `openssl-${index}`)
      await mkdir(scratch)
      await writeFile(join(scratch, "archive.enc"), await up.read("worker", project.source, key))
      await writeFile(join(scratch, "password.b64"), recording.encryptedPassword)
      const keys = join(up.folderOf("keys"), String(project.id))
      const [pem] = (await readdir(keys)).filter((file) => file.endsWith(".pem") && !file.includes("cert"))
      await run("bash", ["-euc", BY_OPENSSL, "-", join(keys, pem!)], { cwd: scratch })
      const decrypted = await up.read("worker", project.destination, `${project.id}/${id}/archive.ts`)
      expect(decrypted.equals(await readFile(join(scratch, "archive.ts"))), name).toBe(true)
    }
  })

  it("need less memory than the file gives them", async () => {
    for (const { service, container } of up.containers) {
      const status = await readFile(`/proc/${container.pid}/status`, "utf8")
      const peak = Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) * 1_024
      const limit = Number.parseInt(services[service]!.mem_limit, 10) * 2 ** 20
      console.log(`${service}: ${(peak / 2 ** 20).toFixed(0)} MiB of ${services[service]!.mem_limit}`)
      expect(peak, service).toBeLessThan(limit)
    }
  })

  it("end with 0 at SIGTERM, each within the file's grace", async () => {
    expect(await up.stop()).toEqual([
      ...[
        ["simulator-azure", 0],
        ["simulator", 0],
        ["worker", 0],
        ["worker", 0],
        ["console", 0],
        ["ingest", 0],
      ],
    ])
  })
})
