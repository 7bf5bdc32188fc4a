import { existsSync, readFileSync } from "node:fs"
import { readSecretFile } from "@unseal/service/environment"
import {
  ConfigurationError,
  type Environment,
  logLevel,
  readSettings,
  readTogether,
} from "@unseal/service/settings"
import { z } from "zod"
import { SECRETS, SETTINGS } from "./settings.ts"

export type SimulatorConfig = ReturnType<typeof readConfig>

/** The simulator's configuration. Throws `ConfigurationError` with every problem at once. */
export function readConfig(env: Environment = process.env) {
  const [own, { LOG_LEVEL }, credential, users] = readTogether(
    () => readOwnSettings(env),
    () => readSettings("simulator", z.object({ LOG_LEVEL: logLevel() }), env),
    () => readCredential(env),
    () => readUsers(env.SIMULATOR_S3_POLICIES_FILE),
  )
  return { ...own, LOG_LEVEL, credential, users, env }
}

function readOwnSettings(env: Environment): z.output<typeof SETTINGS> {
  const known = [...Object.keys(SETTINGS.shape), ...SECRETS.map((name) => `${name}_FILE`)]
  const given = Object.entries(env).filter(([name, value]) => name.startsWith("SIMULATOR_") && value)
  const problems = given
    .filter(([name]) => !known.includes(name))
    .map(([name]) => `${name} is not a setting: there are ${known.join(", ")}`)

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
    problems.push("SIMULATOR_CERTIFICATE_FILE is not set")
  if (data !== undefined) problems.push(...contradictions(data))
  if (data === undefined || problems.length > 0) throw new ConfigurationError(problems)
  return data
}

function contradictions(settings: z.output<typeof SETTINGS>): string[] {
  const problems: string[] = []
  if (settings.SIMULATOR_S3_QUIRKS !== undefined && settings.SIMULATOR_S3_PORT === undefined)
    problems.push("SIMULATOR_S3_QUIRKS is set, but not the SIMULATOR_S3_PORT of the server that they are for")
  if (settings.SIMULATOR_S3_POLICIES_FILE !== undefined && settings.SIMULATOR_S3_PORT === undefined)
    problems.push(
      "SIMULATOR_S3_POLICIES_FILE is set, but not the SIMULATOR_S3_PORT of the server that they are for",
    )
  if (
    (settings.SIMULATOR_S3_UPLOAD_ACCESS_KEY === undefined) !==
    (settings.SIMULATOR_S3_UPLOAD_SECRET_KEY === undefined)
  )
    problems.push("SIMULATOR_S3_UPLOAD_ACCESS_KEY and SIMULATOR_S3_UPLOAD_SECRET_KEY must be set together")
  if (settings.SIMULATOR_S3_UPLOAD_ACCESS_KEY !== undefined && settings.SIMULATOR_S3_PORT === undefined)
    problems.push(
      "SIMULATOR_S3_UPLOAD_ACCESS_KEY is set, but not the SIMULATOR_S3_PORT of the server that it is for",
    )
  if (settings.SIMULATOR_STORE === undefined && settings.SIMULATOR_S3_PORT === undefined)
    problems.push(
      "SIMULATOR_STORE is not set: it names the upload target, unless SIMULATOR_S3_PORT starts one",
    )
  if (!settings.SIMULATOR_KEY_TEMPLATE.includes("{archiveId}"))
    problems.push("SIMULATOR_KEY_TEMPLATE must contain {archiveId}")
  const certificateFile = settings.SIMULATOR_CERTIFICATE_FILE
  if (
    certificateFile !== undefined &&
    settings.SIMULATOR_KEY_FILE === undefined &&
    !existsSync(certificateFile)
  )
    problems.push(
      `SIMULATOR_CERTIFICATE_FILE: ${certificateFile} is missing; to make it, SIMULATOR_KEY_FILE must say where its private key goes`,
    )
  if (settings.SIMULATOR_REST_PORT !== undefined) problems.push(...restContradictions(settings))
  return problems
}

function restContradictions(settings: z.output<typeof SETTINGS>): string[] {
  const problems: string[] = []
  const scheme = settings.SIMULATOR_REST_AUTH
  if (scheme === "vonage" && settings.SIMULATOR_PUBLIC_KEY_FILE === undefined)
    problems.push("SIMULATOR_PUBLIC_KEY_FILE is not set, and the REST API is authenticated by it")
  if (scheme !== "vonage" && settings.SIMULATOR_API_SECRET === undefined)
    problems.push("SIMULATOR_API_SECRET is not set, and the REST API is authenticated by it")
  if (
    (settings.SIMULATOR_TLS_CERTIFICATE_FILE === undefined) !==
    (settings.SIMULATOR_TLS_KEY_FILE === undefined)
  )
    problems.push("SIMULATOR_TLS_CERTIFICATE_FILE and SIMULATOR_TLS_KEY_FILE must be set together")
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

/** By access key. */
export type S3Users = z.output<typeof USERS>

function readUsers(path: string | undefined): S3Users {
  if (!path) return {}
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, "utf8"))
  } catch {
    throw new ConfigurationError([`SIMULATOR_S3_POLICIES_FILE: ${path} can't be read as JSON`])
  }
  const { data, error } = USERS.safeParse(value)
  if (data !== undefined) return data
  const [{ path: at, message }] = error.issues as [z.core.$ZodIssue]
  throw new ConfigurationError([`SIMULATOR_S3_POLICIES_FILE: ${path}: ${at.join(".")}: ${message}`])
}

/** What the customer uses at the S3 server: the very names that the SDKs read. */
function readCredential(env: Environment): { accessKeyId: string; secretAccessKey: string } | null {
  if (!env.SIMULATOR_S3_PORT) return null
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (!accessKeyId || !secretAccessKey)
    throw new ConfigurationError([
      "SIMULATOR_S3_PORT is set, but not the AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY that its S3 server accepts",
    ])
  return { accessKeyId, secretAccessKey }
}
