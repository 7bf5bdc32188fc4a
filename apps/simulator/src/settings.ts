/** The simulator's settings. config.ts reads them from the environment, docs/simulator.md lists them. */
import { choice, flag, integer, milliseconds, port, text, url } from "@unseal/service/settings/settings"
import { z } from "zod"
import { describeQuirks, isQuirkName } from "./s3/quirks/quirks.ts"
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

/** Settings of the REST API and of the vendor's storage, which exists only with it. */
const REST_SETTINGS = {
  SIMULATOR_REST_PORT: port()
    .optional()
    .describe("port of the vendor's REST API, which is served only if this is set; 0 takes any free one"),
  SIMULATOR_REST_AUTH: choice(["opentok", "vonage", "basic"])
    .prefault("opentok")
    .describe("how requests to the REST API are authenticated"),
  SIMULATOR_API_SECRET: text().optional().describe("the project's API secret, for `opentok` and `basic`"),
  SIMULATOR_PUBLIC_KEY_FILE: text().optional().describe("the application's public key (PEM), for `vonage`"),
  SIMULATOR_REST_REFUSE_EVERY: integer()
    .prefault("0")
    .describe("answers every n-th request to the REST API with 429 and `Retry-After: 1`; 0 answers all"),
  SIMULATOR_FALLBACK: flag()
    .prefault("0")
    .describe(
      "`1` keeps an archive in the vendor's storage if it can't be uploaded, until a storage request says otherwise",
    ),
  SIMULATOR_DOWNLOAD_PORT: port()
    .prefault("0")
    .describe("port that the vendor's storage is downloaded from; 0 takes any free one"),
  SIMULATOR_DOWNLOAD_HOST: text().prefault("127.0.0.1").describe("host in the URLs of `available` archives"),
  SIMULATOR_URL_LIFETIME_MS: milliseconds()
    .prefault("10m")
    .describe("how long the URL of an `available` archive is valid"),
  SIMULATOR_TLS_CERTIFICATE_FILE: text()
    .optional()
    .describe(
      "certificate (PEM) to serve these URLs over HTTPS; if the files are missing, a self-signed certificate is made",
    ),
  SIMULATOR_TLS_KEY_FILE: text()
    .optional()
    .describe("private key (PEM) of that certificate; set both or neither"),
}

/** The simulator's own settings. They have a prefix of their own because they are not the product's. Each describes its meaning. */
export const SETTINGS = z.object({
  SIMULATOR_HOST: text().prefault("127.0.0.1").describe("address that every port listens on"),
  SIMULATOR_PORT: port().prefault("8082").describe("port of the control API; 0 takes any free one"),
  SIMULATOR_DIRECTORY: text()
    .optional()
    .describe(
      "folder of a [complete simulator](#start): certificate, key, secrets, and what is decrypted; unset, `unseal-simulator` in the system's temporary folder",
    ),
  SIMULATOR_S3_PORT: port()
    .optional()
    .describe(
      "port of the project's own S3 server, which runs only if this is set; `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are the credential that it accepts",
    ),
  SIMULATOR_S3_BUCKETS: list(text().min(1))
    .prefault("recordings,decrypted")
    .describe(
      "buckets of that server; archives go to the first unless `SIMULATOR_STORE` names another store",
    ),
  SIMULATOR_S3_QUIRKS: list(quirk())
    .optional()
    .describe("how that server differs from S3: names of [quirks](#quirks)"),
  SIMULATOR_S3_RESTORE_MS: milliseconds()
    .prefault("1000")
    .describe("how long that server takes to restore an object from `GLACIER` or `DEEP_ARCHIVE`"),
  SIMULATOR_S3_POLICIES_FILE: text()
    .optional()
    .describe("who else may use that server, and for what: see [Policies](#policies)"),
  SIMULATOR_S3_UPLOAD_ACCESS_KEY: text()
    .optional()
    .describe(
      "access key with which the vendor uploads to that server, unaffected by quirks; unset, made up at each start",
    ),
  SIMULATOR_S3_UPLOAD_SECRET_KEY: text()
    .optional()
    .describe("secret key for that access key; set both or neither"),
  SIMULATOR_STORE: text()
    .optional()
    .describe("store URL that archives are uploaded to, instead of the S3 server's first bucket"),
  SIMULATOR_KEY_TEMPLATE: text()
    .prefault(DEFAULT_KEY_TEMPLATE)
    .describe("key of an uploaded archive; must contain `{archiveId}`"),
  SIMULATOR_CERTIFICATE_FILE: text()
    .optional()
    .describe(
      "the customer's certificate (PEM), which archives are encrypted under. If the file is missing, it is made. With a REST API it is optional: archives are not encrypted until a storage request brings a certificate",
    ),
  SIMULATOR_KEY_FILE: text()
    .optional()
    .describe("where to write the private key when the certificate is made"),
  SIMULATOR_OAEP_HASH: choice(["sha1", "sha256"])
    .prefault("sha1")
    .describe("hash of the RSA-OAEP that wraps passwords"),
  SIMULATOR_PROJECT_ID: text()
    .prefault("123456")
    .describe("the project: an OpenTok API key (digits) or a Vonage application (UUID)"),
  SIMULATOR_PROJECT_ID_NAME: choice(["partnerId", "projectId", "applicationId"])
    .prefault("partnerId")
    .describe("the name of the project's id in callbacks"),
  SIMULATOR_CALLBACK_URL: url(["http", "https"])
    .optional()
    .describe("where callbacks go; unset, nothing is called back"),
  SIMULATOR_CALLBACK_TOKEN: text()
    .optional()
    .describe("secret that is appended to the callback URL as its last segment"),
  SIMULATOR_SIGNATURE_SECRET: text()
    .optional()
    .describe("secret that callbacks are signed with; unset, they are not signed"),
  SIMULATOR_CALLBACKS_LOSE_EVERY: integer()
    .prefault("0")
    .describe("never sends every n-th callback; 0 sends all"),
  SIMULATOR_CALLBACKS_DELAY_MS: milliseconds().prefault("0").describe("how late each callback is sent"),
  SIMULATOR_PLATFORM: choice(["unified", "legacy"])
    .prefault("unified")
    .describe("schedule of the retries of a callback"),
  ...REST_SETTINGS,
  SIMULATOR_TIME_SCALE: scale()
    .prefault("1")
    .describe("factor for the waits between retries of a callback: 0.01 turns 5 s into 50 ms"),
  SIMULATOR_ARCHIVES: integer().prefault("0").describe("archives to record at the start"),
  SIMULATOR_SIZES_BYTES: list(integer())
    .prefault("1000000,5000000,20000000")
    .describe("sizes of archives, used in turn at the start and for archives started through the REST API"),
  SIMULATOR_TAIL: choice(["pkcs7", "zero", "none"])
    .prefault("pkcs7")
    .describe("what fills the last block of these archives"),
  SIMULATOR_ARCHIVES_PER_MINUTE: scale()
    .prefault("60")
    .describe("how many of the archives at the start begin in a minute"),
  SIMULATOR_DISORDER: flag().prefault("0").describe("`1` sends the callback `uploaded` before `stopped`"),
  SIMULATOR_DUPLICATES: integer({ max: 1_000 }).prefault("0").describe("how often each callback is repeated"),
  SIMULATOR_PARALLELISM: integer({ min: 1, max: 1_000 })
    .prefault("4")
    .describe("archives that are uploaded at once"),
})

/** Settings that may also be given as a file (`NAME_FILE`). */
export const SECRETS = [
  "SIMULATOR_CALLBACK_TOKEN",
  "SIMULATOR_SIGNATURE_SECRET",
  "SIMULATOR_API_SECRET",
  "SIMULATOR_S3_UPLOAD_SECRET_KEY",
] as const

/** One row per setting, for docs/simulator.md. */
export interface SettingRow {
  readonly name: string
  /** As it would be written in the environment; `null` if there is none. */
  readonly default: string | null
  readonly meaning: string
  /** All allowed values, if it is a choice. */
  readonly choices: readonly string[]
  /** Whether `NAME_FILE` may hold it. */
  readonly secret: boolean
}

export const settingRows = (): readonly SettingRow[] =>
  Object.entries(SETTINGS.shape).map(([name, schema]) => ({
    name,
    default: schema instanceof z.ZodPrefault ? String(schema.def.defaultValue) : null,
    meaning: schema.description ?? "",
    choices:
      schema instanceof z.ZodPrefault && schema.def.innerType instanceof z.ZodEnum
        ? schema.def.innerType.options.map(String)
        : [],
    secret: SECRETS.some((secret) => secret === name),
  }))
