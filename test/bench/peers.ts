/** What people use without Unseal, each with the fastest settings in its documentation. The letters are those of docs/performance.md. */
import { execFile } from "node:child_process"
import { writeFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { ensureProgram } from "../harness/programs.ts"
import type { Bench } from "./bench-context.ts"
import type { Contender } from "./contest.ts"
import type { Origin } from "./endpoint.ts"
import { type Commands, measureCommands, packageVersion } from "./measure.ts"

/** The endpoint checks no signatures. Clients still sign, because any other store would demand it. */
export const CREDENTIAL = {
  AWS_ACCESS_KEY_ID: "unsealbench",
  AWS_SECRET_ACCESS_KEY: "unseal-bench-secret-key",
  AWS_REGION: "us-east-1",
}

/** Ten times as long as the slowest peer takes for a gibibyte on a slow machine. */
const TIMEOUT_SECONDS = 600

/** The bucket in which every key is an archive of this size, in bytes. */
export const sourceBucket = (archiveBytes: number): string => `recordings-${archiveBytes}`

export type PeerName = "a" | "b" | "c" | "d" | "e" | "floor"

export interface Workload {
  readonly origin: Origin
  readonly archiveBytes: number
}

interface Peer {
  readonly title: string
  readonly settings: string
  readonly commands: Commands
  readonly env: Readonly<Record<string, string>>
  readonly copies?: true
  readonly leaves?: readonly string[]
}

/** The peers `names` as contenders for `workload`. */
export async function peers(
  bench: Bench,
  workload: Workload,
  names: readonly PeerName[],
): Promise<Contender[]> {
  const chosen: Contender[] = []
  for (const name of names) {
    const { title, settings, commands, env, copies, leaves = [] } = await PEERS[name](bench, workload)
    chosen.push({
      name: name === "floor" ? title : `${name}: ${title}`,
      settings,
      ...(copies ? { copies } : {}),
      async run() {
        try {
          return await measureCommands(bench.native, commands, { env, timeoutSeconds: TIMEOUT_SECONDS })
        } finally {
          await Promise.all(leaves.map((path) => rm(path, { force: true })))
        }
      },
    })
  }
  return chosen
}

const PEERS: Readonly<Record<PeerName, (bench: Bench, workload: Workload) => Promise<Peer>>> = {
  async a(bench, workload) {
    const { s3, env, settings } = await awsCli(bench, workload)
    const [download, upload] = [s3(sourceUrl(workload), "-"), s3("-", "s3://decrypted/a/archive.ts")]
    return {
      title: "`aws s3 cp - | openssl enc -d | aws s3 cp -`",
      settings: `${settings}, --expected-size`,
      commands: [[download, openssl(bench), [...upload, "--expected-size", String(workload.archiveBytes)]]],
      env,
    }
  },

  async b(bench, workload) {
    const { rclone, env, settings } = await rcloneRemotes(workload)
    return {
      title: "`rclone cat | openssl enc -d | rclone rcat`",
      settings,
      commands: [
        [
          rclone("cat", `source:${sourceBucket(workload.archiveBytes)}/b/archive.ts`),
          openssl(bench),
          // Given the size, it can plan the parts.
          rclone("rcat", "--size", String(workload.archiveBytes), "destination:decrypted/b/archive.ts"),
        ],
      ],
      env,
    }
  },

  async c(bench, workload) {
    const { s3, env, settings } = await awsCli(bench, workload)
    const [encrypted, decrypted] = [join(bench.diskDirectory, "c.enc"), join(bench.diskDirectory, "c.ts")]
    return {
      title: "download, openssl, upload through the disk",
      settings,
      commands: [
        [s3(sourceUrl(workload), encrypted)],
        [[...openssl(bench), "-in", encrypted, "-out", decrypted]],
        [s3(decrypted, "s3://decrypted/c/archive.ts")],
      ],
      env,
      leaves: [encrypted, decrypted],
    }
  },

  async d(bench, { origin, archiveBytes }) {
    return {
      title: "Node, the SDK's `GetObject` body through `createDecipheriv` into lib-storage's `Upload`",
      settings: `Node ${process.versions.node}, SDK and lib-storage ${packageVersion("@aws-sdk/lib-storage")}, parts of 8 MiB, 4 at once, checksums when required`,
      commands: [
        [
          [
            process.execPath,
            join(import.meta.dirname, "peer-d.ts"),
            sourceBucket(archiveBytes),
            "d/archive.ts",
          ],
        ],
      ],
      env: {
        ...CREDENTIAL,
        AWS_ENDPOINT_URL_S3: origin.url,
        CONTENT_KEY: bench.recording.key,
        CONTENT_IV: bench.recording.iv,
        ...(origin.certificateFile ? { NODE_EXTRA_CA_CERTS: origin.certificateFile } : {}),
      },
    }
  },

  async e(_bench, workload) {
    const { rclone, env, settings } = await rcloneRemotes(workload)
    const [from, to] = [
      `source:${sourceBucket(workload.archiveBytes)}/e/archive.ts`,
      "destination:decrypted/e/archive.ts",
    ]
    return {
      title: "`rclone copyto`, **no decryption**",
      settings,
      commands: [[rclone("copyto", "--ignore-checksum", "--no-check-dest", from, to)]],
      env,
      copies: true,
    }
  },

  async floor({ native, recording, endpoint }, { archiveBytes }) {
    const paths = [`${sourceBucket(archiveBytes)}/floor/archive.ts`, "decrypted/floor/archive.ts"]
    const { key, iv } = recording
    return {
      title: "floor: C, in-place EVP decrypt, no signing",
      settings: "one thread, one GET, one PUT",
      commands: [[[native.floor, new URL(endpoint.url).port, ...paths, String(archiveBytes), key, iv]]],
      env: {},
    }
  },
}

const sourceUrl = ({ archiveBytes }: Workload): string => `s3://${sourceBucket(archiveBytes)}/a/archive.ts`

const openssl = ({ recording: { key, iv } }: Bench): string[] => [
  ...["openssl", "enc", "-d", "-aes-256-cbc", "-nopad", "-K", key, "-iv", iv],
]

/** Parts of 16 MiB, ten at once. Bodies are not hashed, as they would be by default over plain HTTP. */
async function awsCli({ diskDirectory }: Bench, { origin }: Workload) {
  const program = await debianProgram("aws", "awscli")
  const config = join(diskDirectory, "aws-config")
  const s3Settings = {
    max_concurrent_requests: "10",
    multipart_chunksize: "16MB",
    payload_signing_enabled: "false",
    addressing_style: "path",
  }
  const lines = Object.entries(s3Settings).map(([name, value]) => `  ${name} = ${value}`)
  const checksums = [
    "request_checksum_calculation = when_required",
    "response_checksum_validation = when_required",
  ]
  writeFileSync(config, ["[default]", ...checksums, "s3 =", ...lines, ""].join("\n"))
  const flags = [
    ...["--endpoint-url", origin.url, "--only-show-errors", "--no-progress"],
    ...(origin.certificateFile ? ["--ca-bundle", origin.certificateFile] : []),
  ]
  return {
    s3: (from: string, to: string) => [program, "s3", "cp", from, to, ...flags],
    env: { ...CREDENTIAL, AWS_CONFIG_FILE: config, AWS_EC2_METADATA_DISABLED: "true" },
    settings: `${await versionOf(program)}, ${Object.entries(s3Settings)
      .map((pair) => pair.join("="))
      .join(" ")}`,
  }
}

/** Two remotes, because within one remote rclone would have the store copy. HEAD and MD5 are off. */
async function rcloneRemotes({ origin }: Workload) {
  const program = await debianProgram("rclone", "rclone")
  const flags = [
    ...["--s3-chunk-size", "16M", "--s3-upload-concurrency", "8", "--s3-disable-checksum"],
    ...["--s3-no-check-bucket", "--buffer-size", "64M", "--retries", "1", "--config", ""],
  ]
  const remote = (name: string, extra: Record<string, string> = {}) => {
    const prefix = `RCLONE_CONFIG_${name}_`
    const settings = {
      TYPE: "s3",
      PROVIDER: "Other",
      ENDPOINT: origin.url,
      FORCE_PATH_STYLE: "true",
      ACCESS_KEY_ID: CREDENTIAL.AWS_ACCESS_KEY_ID,
      SECRET_ACCESS_KEY: CREDENTIAL.AWS_SECRET_ACCESS_KEY,
      ...extra,
    }
    return Object.fromEntries(Object.entries(settings).map(([key, value]) => [prefix + key, value]))
  }
  const trust = origin.certificateFile ? ["--ca-cert", origin.certificateFile] : []
  return {
    rclone: (command: string, ...args: string[]) => [program, command, ...flags, ...trust, ...args],
    // Without this at the source, rclone would not recognise the key as an object.
    env: { ...remote("SOURCE"), ...remote("DESTINATION", { NO_HEAD: "true" }) },
    settings: `${await versionOf(program)}, ${flags.slice(0, -4).join(" ")}, no HEAD of what was uploaded`,
  }
}

/** On Debian, its own package, even if PATH finds another one first. Elsewhere, what PATH finds. */
function debianProgram(name: string, apt: string): Promise<string> {
  return ensureProgram(`/usr/bin/${name}`, { packages: { apt } }).catch(() =>
    ensureProgram(name, { packages: { apt, dnf: apt, apk: apt, brew: apt } }),
  )
}

/** `aws-cli/2.9.19`, `rclone v1.60.1-DEV`. */
export async function versionOf(program: string): Promise<string> {
  const flag = program.endsWith("aws") ? "--version" : "version"
  const { stdout, stderr } = await promisify(execFile)(program, [flag])
  const [line = ""] = (stdout || stderr).split("\n")
  return program.endsWith("aws") ? line.split(" ")[0]! : line.trim()
}
