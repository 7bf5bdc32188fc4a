/** * A simulator without settings is complete: it has an S3 server, the REST API, a certificate, secrets, and callbacks to an ingest
 * on this machine. Everything is in one folder, which the next start uses again.
 */
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigurationError, type Environment } from "@unseal/service/settings/settings"

/** With any of these the simulator has a purpose, and is complete only if `SIMULATOR_DIRECTORY` names a folder. */
const PURPOSES = ["SIMULATOR_STORE", "SIMULATOR_S3_PORT", "SIMULATOR_REST_PORT"] as const

export const isComplete = (env: Environment): boolean =>
  Boolean(env.SIMULATOR_DIRECTORY) || PURPOSES.every((name) => !env[name])

/** The folder of a complete simulator. */
export const directoryOf = (env: Environment): string =>
  env.SIMULATOR_DIRECTORY || join(tmpdir(), "unseal-simulator")

/**
 * `env` with what a complete simulator adds. Makes the folder, and in it what does not exist yet. Throws `ConfigurationError` if
 * the folder can't be used.
 */
export function withEverything(env: Environment): Environment {
  const directory = directoryOf(env)
  makeOwn(directory)
  for (const name of ["keys", "decrypted"]) mkdirSync(join(directory, name), { recursive: true, mode: 0o700 })
  const secret = (setting: string, file: string, bytes: number) => {
    if (env[setting] || env[`${setting}_FILE`]) return {}
    const path = join(directory, file)
    if (!existsSync(path)) writeFileSync(path, `${randomBytes(bytes).toString("hex")}\n`, { mode: 0o600 })
    return { [`${setting}_FILE`]: path }
  }
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value))
  const project = given.SIMULATOR_PROJECT_ID ?? "123456"
  return {
    SIMULATOR_S3_PORT: "9000",
    SIMULATOR_REST_PORT: "8083",
    SIMULATOR_CALLBACK_URL: `http://127.0.0.1:8080/callbacks/${project}`,
    ...(given.SIMULATOR_CERTIFICATE_FILE === undefined && {
      SIMULATOR_CERTIFICATE_FILE: join(directory, "certificate.pem"),
      SIMULATOR_KEY_FILE: join(directory, "keys/simulator.pem"),
    }),
    ...secret("SIMULATOR_SIGNATURE_SECRET", "signature-secret", 32),
    ...(given.SIMULATOR_REST_AUTH !== "vonage" && secret("SIMULATOR_API_SECRET", "api-secret", 20)),
    AWS_ACCESS_KEY_ID: "simulator",
    AWS_SECRET_ACCESS_KEY: "simulator-secret",
    ...given,
  }
}

/** Makes the folder, and refuses one that another user could have prepared. */
function makeOwn(directory: string): void {
  const refuse = (why: string): never => {
    throw new ConfigurationError([
      `SIMULATOR_DIRECTORY: ${directory} ${why}: name a folder that the simulator may write to`,
    ])
  }
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    if (statSync(directory).uid !== (process.getuid?.() ?? 0)) refuse("belongs to another user")
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    refuse(`can't be made (${(error as NodeJS.ErrnoException).code})`)
  }
}

export interface GuideOptions {
  readonly env: Environment
  readonly directory: string
  readonly projectId: string
  readonly buckets: readonly string[]
  readonly ports: { readonly control: number; readonly s3: number; readonly rest: number }
}

/** The settings of ingest, the worker and the command line for a complete simulator, as a shell reads them. */
export function settingsFor({ env, directory, projectId, buckets, ports }: GuideOptions): string {
  const store = `s3://${buckets[0]}?endpoint=http://127.0.0.1:${ports.s3}&region=us-east-1&pathStyle=true`
  const secret = (name: string, own: string) => {
    const file = env[`${own}_FILE`]
    if (file !== undefined) return { [`${name}_FILE`]: file }
    return env[own] === undefined ? {} : { [name]: env[own] }
  }
  const settings: Readonly<Record<string, string | undefined>> = {
    UNSEAL_PROJECT_ID: projectId,
    ...secret("UNSEAL_SIGNATURE_SECRET", "SIMULATOR_SIGNATURE_SECRET"),
    UNSEAL_SOURCE: store,
    UNSEAL_DESTINATION: `file://${directory}/decrypted`,
    UNSEAL_KEYS: join(directory, "keys"),
    UNSEAL_API_URL: `http://127.0.0.1:${ports.rest}`,
    ...secret("UNSEAL_API_SECRET", "SIMULATOR_API_SECRET"),
    AWS_ACCESS_KEY_ID: env.AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: env.AWS_SECRET_ACCESS_KEY,
  }
  const quoted = (value = "") => `'${value.replaceAll("'", "'\\''")}'`
  const lines = Object.entries(settings).map(([name, value]) => `export ${name}=${quoted(value)}\n`)
  return `# Ingest, the worker and the command line, for the simulator of this folder.\n${lines.join("")}`
}

/** What to do next, for the terminal. */
export function guideFor({ directory, env, ports }: GuideOptions, settingsFile: string): string {
  const control = `http://127.0.0.1:${ports.control}`
  return `
The simulator is ready.

  control API   ${control}
  S3            http://127.0.0.1:${ports.s3}
  REST API      http://127.0.0.1:${ports.rest}
  callbacks to  ${env.SIMULATOR_CALLBACK_URL}

In two more terminals, start the other side. It needs a Redis that keeps what
it acknowledges (appendonly yes, appendfsync always, maxmemory-policy noeviction),
at REDIS_URL, which is redis://127.0.0.1:6379 unless you set it:

  . ${settingsFile}
  unseal ingest

  . ${settingsFile}
  unseal worker

Have three archives recorded. They appear, decrypted, in ${directory}/decrypted:

  curl -sS ${control}/archives -d '{ "size": 5000000, "count": 3 }'

Have a bad day, and then end it:

  curl -sS -X PATCH ${control}/bad-day -d '{ "loseCallbacksEvery": 3, "quirks": ["slow-down"] }'
  curl -sS -X PATCH ${control}/bad-day -d '{ "loseCallbacksEvery": 0, "quirks": [] }'

`
}
