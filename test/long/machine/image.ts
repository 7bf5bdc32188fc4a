/** The image of the Dockerfile, built by buildah. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ROOT } from "../../compose/compose-file.ts"
import { buildah, ISOLATION } from "./buildah.ts"
import type { ImageConfig } from "./container.ts"

const run = promisify(execFile)

export interface BuiltImage {
  /** Directory with its files, writable for the mount points of `startContainer`. */
  readonly root: string
  readonly config: ImageConfig
  /** The configuration as OCI has it. */
  readonly raw: Readonly<Record<string, unknown>>
  /** Of each layer, as a registry would send it. */
  compressedBytes(): Promise<readonly number[]>
  /** The paths in it that `find / TESTS` finds. */
  find(...tests: string[]): Promise<readonly string[]>
  close(): Promise<void>
}

/** Builds the image on `base`, which is in buildah's directory `storage` too. */
export async function buildImage(storage: string, base: string): Promise<BuiltImage> {
  const name = "localhost/unseal:test"
  const git = async (...args: string[]) => (await run("git", args, { cwd: ROOT })).stdout.trim()
  const [revision, epoch] = [await git("rev-parse", "HEAD"), await git("log", "-1", "--format=%ct")]
  const given = [`NODE_IMAGE=${base}`, `REVISION=${revision}`].flatMap((value) => ["--build-arg", value])
  await buildah(
    storage,
    "build",
    ...ISOLATION,
    "--no-cache",
    "--timestamp",
    epoch,
    "--tag",
    name,
    ...given,
    ROOT,
  )
  const container = (await buildah(storage, "from", name)).trim()
  const root = (await buildah(storage, "mount", container)).trim()
  const { OCIv1 } = JSON.parse(await buildah(storage, "inspect", "--type", "image", name))
  const raw = OCIv1.config as { User: string; Entrypoint: string[]; Env: string[]; WorkingDir: string }
  return {
    ...{ root, raw },
    config: {
      user: raw.User,
      entrypoint: raw.Entrypoint,
      env: Object.fromEntries(
        raw.Env.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
      ),
      workingDirectory: raw.WorkingDir,
    },
    async compressedBytes() {
      const layout = await mkdtemp(join(tmpdir(), "unseal-layout-"))
      try {
        await buildah(storage, "push", name, `oci:${layout}:unseal`)
        const blob = async (digest: string) => join(layout, "blobs", digest.replace(":", "/"))
        const index = JSON.parse(await readFile(join(layout, "index.json"), "utf8"))
        const manifest = JSON.parse(await readFile(await blob(index.manifests[0].digest), "utf8"))
        const layers = manifest.layers as { digest: string }[]
        return await Promise.all(layers.map(async ({ digest }) => (await stat(await blob(digest))).size))
      } finally {
        await rm(layout, { recursive: true, force: true })
      }
    },
    async find(...tests) {
      const { stdout } = await run("find", [root, ...tests], { maxBuffer: 256 * 2 ** 20 })
      return stdout
        .split("\n")
        .filter((path) => path !== "")
        .map((path) => path.slice(root.length) || "/")
    },
    async close() {
      await buildah(storage, "rm", "--all")
    },
  }
}
