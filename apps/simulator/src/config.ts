import { existsSync, readFileSync } from "node:fs"
import { readSecretFile } from "@unseal/service/environment"
import {
  ConfigurationError,
  choice,
  type Environment,
  flag,
  integer,
  logLevel,
  milliseconds,
  port,
  readSettings,
  readTogether,
  text,
  url,
} from "@unseal/service/settings"
import { z } from "zod"
import { describeQuirks, isQuirkName } from "./s3/quirks.ts"
import { DEFAULT_KEY_TEMPLATE } from "./upload.ts"

const scale = () =>
  z.string().transform((value, context) => {
    const number = Number(value)
    if (number > 0 && number <= 1_000) return number
    context.addIssue("must be a number above 0, up to 1000")
    return z.NEVER
  })

const list = <Item extends z.ZodType<unknown, string>>(item: Item) =>
  z
    .string()
    .transform((value) => value.split(",").map((part) => part.trim()))
    .pipe(z.array(item))

const quirk = () =>
  z.string().transform((name, context) => {
    if (isQuirkName(name)) return name
    context.addIssue(`has no quirk ${JSON.stringify(name.slice(0, 80))}; there are\n${describeQuirks()}`)
    return z.NEVER
  })

/** Of the REST API, and of the vendor's storage, which is there only with it. */
const REST_SETTINGS = {
  /** Serves the vendor's REST API on this port. */
  SIMULATOR_REST_PORT: port().optional(),
  /** How its requests are authenticated: by OpenTok's JWT, by the unified platform's, or by HTTP Basic. */
  SIMULATOR_REST_AUTH: choice(["opentok", "vonage", "basic"]).prefault("opentok"),
  /** For `opentok` and `basic`. Or `SIMULATOR_API_SECRET_FILE`. */
  SIMULATOR_API_SECRET: text().optional(),
  /** For `vonage`: the public key of the application, PEM. */
  SIMULATOR_PUBLIC_KEY_FILE: text().optional(),
  /** Answers every so-many-th request with 429 and `Retry-After: 1`; 0 none. */
  SIMULATOR_REST_REFUSE_EVERY: integer().prefault("0"),
  /** Keeps an archive in the vendor's storage if it can't be uploaded, until the REST API says otherwise. */
  SIMULATOR_FALLBACK: flag().prefault("0"),
  /** Of the server for what is in the vendor's storage; 0 takes any free one. */
  SIMULATOR_DOWNLOAD_PORT: port().prefault("0"),
  /** The host in the URLs of `available` archives. */
  SIMULATOR_DOWNLOAD_HOST: text().prefault("127.0.0.1"),
  /** How long such a URL is valid. */
  SIMULATOR_URL_LIFETIME_MS: milliseconds().prefault("10m"),
  /** Serves them over HTTPS. If the files are missing, a self-signed certificate for the host is made. */
  SIMULATOR_TLS_CERTIFICATE_FILE: text().optional(),
  SIMULATOR_TLS_KEY_FILE: text().optional(),
}

/** The simulator's own settings; they are no part of the product's, so they have a prefix of their own. */
const SETTINGS = z.object({
  /** The address that the control API and the S3 server listen on. */
  SIMULATOR_HOST: text().prefault("127.0.0.1"),
  /** Of the control API; 0 takes any free one. */
  SIMULATOR_PORT: port().prefault("8082"),
  /** Starts the project's own S3 server on this port; its credential is `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. */
  SIMULATOR_S3_PORT: port().optional(),
  /** Buckets of that server. The first is the upload target if `SIMULATOR_STORE` names none. */
  SIMULATOR_S3_BUCKETS: list(text().min(1)).prefault("recordings,decrypted"),
  /** How that server differs from S3: names of quirks (s3/quirks.ts). */
  SIMULATOR_S3_QUIRKS: list(quirk()).optional(),
  /**
   * Who else may do what with that server: by access key, `secretAccessKey` and `policies`, a list of IAM documents. Named
   * there, `AWS_ACCESS_KEY_ID` may do no more than its documents allow.
   */
  SIMULATOR_S3_POLICIES_FILE: text().optional(),
  /** The vendor's own credential for its uploads to that server, which quirks do not strike. Made up unless both are set. */
  SIMULATOR_S3_UPLOAD_ACCESS_KEY: text().optional(),
  /** Or `SIMULATOR_S3_UPLOAD_SECRET_KEY_FILE`. */
  SIMULATOR_S3_UPLOAD_SECRET_KEY: text().optional(),
  /** The customer's upload target, a store URL. */
  SIMULATOR_STORE: text().optional(),
  SIMULATOR_KEY_TEMPLATE: text().prefault(DEFAULT_KEY_TEMPLATE),
  /**
   * The customer's certificate, PEM. If the file is missing, it is made, and its private key at `SIMULATOR_KEY_FILE`. With a
   * REST API it may be left out: archives are then not encrypted until a certificate is set.
   */
  SIMULATOR_CERTIFICATE_FILE: text().optional(),
  SIMULATOR_KEY_FILE: text().optional(),
  SIMULATOR_OAEP_HASH: choice(["sha1", "sha256"]).prefault("sha1"),
  SIMULATOR_PROJECT_ID: text().prefault("123456"),
  /** How callbacks spell it. */
  SIMULATOR_PROJECT_ID_NAME: choice(["partnerId", "projectId", "applicationId"]).prefault("partnerId"),
  /** Without it, nothing is called back. */
  SIMULATOR_CALLBACK_URL: url(["http", "https"]).optional(),
  /** The last segment of the callback URL's path. Or `SIMULATOR_CALLBACK_TOKEN_FILE`. */
  SIMULATOR_CALLBACK_TOKEN: text().optional(),
  /** Signs callbacks. Or `SIMULATOR_SIGNATURE_SECRET_FILE`. */
  SIMULATOR_SIGNATURE_SECRET: text().optional(),
  SIMULATOR_PLATFORM: choice(["unified", "legacy"]).prefault("unified"),
  ...REST_SETTINGS,
  /** Stretches the waits of the callbacks' retries; 0.01 makes 50 ms of 5 s. */
  SIMULATOR_TIME_SCALE: scale().prefault("1"),
  /** Archives that are recorded at the start, without being asked. */
  SIMULATOR_ARCHIVES: integer().prefault("0"),
  /** Their sizes in bytes, in turn, and those of archives that are started through the REST API. */
  SIMULATOR_SIZES_BYTES: list(integer()).prefault("1000000,5000000,20000000"),
  SIMULATOR_TAIL: choice(["pkcs7", "zero", "none"]).prefault("pkcs7"),
  /** How many of them begin in a minute. */
  SIMULATOR_ARCHIVES_PER_MINUTE: scale().prefault("60"),
  /** Calls `uploaded` back before `stopped`. */
  SIMULATOR_DISORDER: flag().prefault("0"),
  /** How many times more each callback is sent. */
  SIMULATOR_DUPLICATES: integer({ max: 1_000 }).prefault("0"),
  /** Archives that are uploaded at the same time. */
  SIMULATOR_PARALLELISM: integer({ min: 1, max: 1_000 }).prefault("4"),
})

const SECRETS = [
  "SIMULATOR_CALLBACK_TOKEN",
  "SIMULATOR_SIGNATURE_SECRET",
  "SIMULATOR_API_SECRET",
  "SIMULATOR_S3_UPLOAD_SECRET_KEY",
] as const

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
