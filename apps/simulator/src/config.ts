import { existsSync, readFileSync } from "node:fs"
import { closest } from "@unseal/archive/did-you-mean"
import { readSecretFile } from "@unseal/service/settings/environment"
import {
  ConfigurationError,
  type Environment,
  logFormat,
  logLevel,
  readSettings,
  readTogether,
} from "@unseal/service/settings/settings"
import { z } from "zod"
import { directoryOf, isComplete, withEverything } from "./complete.ts"
import { SECRETS, SETTINGS } from "./settings.ts"

export type SimulatorConfig = ReturnType<typeof readConfig>

/** The simulator's configuration. Throws `ConfigurationError` with every problem at once. */
export function readConfig(given: Environment = process.env) {
  const complete = isComplete(given)
  const env = complete ? withEverything(given) : given
  const [own, log, credential, users] = readTogether(
    () => readOwnSettings(env),
    () => readSettings("simulator", z.object({ LOG_LEVEL: logLevel(), LOG_FORMAT: logFormat() }), env),
    () => readCredential(env),
    () => readUsers(env.SIMULATOR_S3_POLICIES_FILE),
  )
  // The folder of a complete simulator; `null` if settings give it a purpose.
  return { ...own, ...log, credential, users, env, directory: complete ? directoryOf(given) : null }
}

function readOwnSettings(env: Environment): z.output<typeof SETTINGS> {
  const known = [...Object.keys(SETTINGS.shape), ...SECRETS.map((name) => `${name}_FILE`)]
  const given = Object.entries(env).filter(([name, value]) => name.startsWith("SIMULATOR_") && value)
  const problems = given
    .filter(([name]) => !known.includes(name))
    .map(([name]) => `${name} is not a setting: did you mean ${closest(name, known)}?`)

  const values: Record<string, string | undefined> = Object.fromEntries(given)
  for (const name of SECRETS) {
    const path = values[`${name}_FILE`]
    if (path !== undefined) values[name] = readSecretFile(path, `${name}_FILE`, problems)
  }
  const { data, error } = SETTINGS.safeParse(values)
  for (const { path, message } of error?.issues ?? [])
    problems.push(
      values[String(path[0])] === undefined
        ? `${String(path[0])} is not set`
        : `${String(path[0])} ${message}`,
    )
  if (values.SIMULATOR_CERTIFICATE_FILE === undefined && values.SIMULATOR_REST_PORT === undefined)
    problems.push(
      "SIMULATOR_CERTIFICATE_FILE is not set: name the certificate that archives are encrypted under, or set SIMULATOR_REST_PORT, so that a storage request can bring one",
    )
  if (data !== undefined) problems.push(...contradictions(data))
  if (data === undefined || problems.length > 0) throw new ConfigurationError(problems)
  return data
}

/** Settings that take effect only if the S3 server runs. */
const OF_S3_SERVER = [
  "SIMULATOR_S3_QUIRKS",
  "SIMULATOR_S3_POLICIES_FILE",
  "SIMULATOR_S3_UPLOAD_ACCESS_KEY",
] as const

function contradictions(settings: z.output<typeof SETTINGS>): string[] {
  const problems: string[] = []
  for (const name of OF_S3_SERVER)
    if (settings[name] !== undefined && settings.SIMULATOR_S3_PORT === undefined)
      problems.push(`${name} is for the simulator's own S3 server: set SIMULATOR_S3_PORT to start it`)
  if (
    (settings.SIMULATOR_S3_UPLOAD_ACCESS_KEY === undefined) !==
    (settings.SIMULATOR_S3_UPLOAD_SECRET_KEY === undefined)
  )
    problems.push(
      "SIMULATOR_S3_UPLOAD_ACCESS_KEY and SIMULATOR_S3_UPLOAD_SECRET_KEY are one credential: set both or neither",
    )
  if (settings.SIMULATOR_STORE === undefined && settings.SIMULATOR_S3_PORT === undefined)
    problems.push(
      "SIMULATOR_STORE is not set: name the store that archives are uploaded to, or set SIMULATOR_S3_PORT to start one",
    )
  if (!settings.SIMULATOR_KEY_TEMPLATE.includes("{archiveId}"))
    problems.push("SIMULATOR_KEY_TEMPLATE lacks {archiveId}: without it all archives would have one key")
  const certificateFile = settings.SIMULATOR_CERTIFICATE_FILE
  if (
    certificateFile !== undefined &&
    settings.SIMULATOR_KEY_FILE === undefined &&
    !existsSync(certificateFile)
  )
    problems.push(
      `SIMULATOR_CERTIFICATE_FILE: ${certificateFile} does not exist: check the path, or set SIMULATOR_KEY_FILE to have certificate and private key made`,
    )
  if (settings.SIMULATOR_REST_PORT !== undefined) problems.push(...restContradictions(settings))
  return problems
}

function restContradictions(settings: z.output<typeof SETTINGS>): string[] {
  const problems: string[] = []
  const scheme = settings.SIMULATOR_REST_AUTH
  if (scheme === "vonage" && settings.SIMULATOR_PUBLIC_KEY_FILE === undefined)
    problems.push(
      "SIMULATOR_PUBLIC_KEY_FILE is not set: with SIMULATOR_REST_AUTH=vonage the REST API verifies tokens with it",
    )
  if (scheme !== "vonage" && settings.SIMULATOR_API_SECRET === undefined)
    problems.push("SIMULATOR_API_SECRET is not set: the REST API verifies requests with it")
  if (
    (settings.SIMULATOR_TLS_CERTIFICATE_FILE === undefined) !==
    (settings.SIMULATOR_TLS_KEY_FILE === undefined)
  )
    problems.push(
      "SIMULATOR_TLS_CERTIFICATE_FILE and SIMULATOR_TLS_KEY_FILE belong together: set both or neither",
    )
  return problems
}

const oneOrMore = z.union([z.string(), z.array(z.string())])
const STATEMENT = z.strictObject({
  Sid: z.string().optional(),
  Effect: z.literal("Allow"),
  Action: oneOrMore,
  Resource: oneOrMore,
})
const DOCUMENT = z.strictObject({
  Version: z.string().optional(),
  Statement: z.union([STATEMENT, z.array(STATEMENT)]),
})
const USERS = z.record(
  z.string(),
  z.strictObject({ secretAccessKey: z.string().min(1), policies: z.array(DOCUMENT) }),
)

/** Policies by access key. */
export type S3Users = z.output<typeof USERS>

function readUsers(path: string | undefined): S3Users {
  if (!path) return {}
  const refuse = (why: string): never => {
    throw new ConfigurationError([`SIMULATOR_S3_POLICIES_FILE: ${path}${why}`])
  }
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    refuse(code === undefined ? " is not JSON" : ` can't be read (${code})`)
  }
  const { data, error } = USERS.safeParse(value)
  if (data !== undefined) return data
  const [{ path: at, message }] = error.issues as [z.core.$ZodIssue]
  return refuse(`: ${at.join(".")}: ${message}`)
}

/** The customer's credential for the S3 server, under the variable names that the SDKs read. */
function readCredential(env: Environment): { accessKeyId: string; secretAccessKey: string } | null {
  if (!env.SIMULATOR_S3_PORT) return null
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (!accessKeyId || !secretAccessKey)
    throw new ConfigurationError([
      "SIMULATOR_S3_PORT starts an S3 server: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the credential that it is to accept",
    ])
  return { accessKeyId, secretAccessKey }
}
