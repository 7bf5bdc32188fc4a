/**
 * A project's settings, one row per field. The rows define what a projects file may contain, the variables of a single project,
 * what each reader gets, and the tables of the documents.
 */
import { z } from "zod"
import type { ProcessName } from "../settings/row.ts"
import { keyTemplateProblem } from "./key-template.ts"
import { storeUrlProblem } from "./store-url-check.ts"

/** The readers of projects, each with its own fields, and the processes that use them. */
export const READERS = {
  /** Receives callbacks. Reads no store and no key. */
  ingest: ["ingest"],
  /** Decrypts. Reads no callback secret. */
  worker: ["worker"],
  /** Uses the vendor's REST API. */
  vendor: ["worker", "cli"],
  /** Looks at finished work. Reads neither sources nor keys. */
  destination: ["cli"],
  /** Looks at where objects are, as far as that is set. */
  stores: ["cli"],
} as const satisfies Record<string, readonly ProcessName[]>

export type ProjectsReader = keyof typeof READERS

export interface ProjectField {
  readonly readers: readonly ProjectsReader[]
  /** Validates the value, or says why it is invalid. The value of a variable is a text, or a list of texts. */
  readonly schema: z.ZodType
  /** A variable separates a `list` by commas. A `location` is a URL, or a path relative to the file's own directory. */
  readonly kind?: "list" | "location"
  /** The variable of a single project, without a file. */
  readonly variable?: string
  /** The processes that read the variable by itself, without a project. */
  readonly alone?: readonly ProcessName[]
  /** A projects file names the files that contain it: `nameFile`, for a list also `nameFiles`. A variable has its `…_FILE`. */
  readonly secret?: true
  /** As written in a variable. The schema has it, too. */
  readonly default?: string
  /** Earlier names of field and variable, which are answered with the new name. */
  readonly formerly?: { readonly field: string; readonly variable: string }
  /** What one value may be, in a few words for the documents. */
  readonly takes: string
  /** One sentence for the documents. */
  readonly meaning: string
}

export type ProjectFields = Readonly<Record<string, ProjectField>>

const REQUIRED = "is missing"
const DIGITS_OR_UUID = /^(\d{1,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

const words = z
  .string({
    error: ({ input }) => (input === undefined ? REQUIRED : "must be text: a number is put in quotes"),
  })
  .min(1, { error: REQUIRED })

/** Turns a function that names a problem into a check of a schema. */
const checked = (problemOf: (text: string) => string | null) =>
  words.check((context) => {
    const problem = context.value === "" ? null : problemOf(context.value)
    if (problem) context.issues.push({ code: "custom", message: problem, input: context.value })
  })

const TOKEN_TAKES = "16 to 256 characters, only letters, digits and - . _ ~"
const MIN_SECRET_BYTES = 16

/** The vendor's have more than 30 characters. A text half as long was cut, or is a placeholder. */
const signatureSecret = words.check(({ value, issues }) => {
  const bytes = Buffer.byteLength(value)
  if (bytes === 0 || bytes >= MIN_SECRET_BYTES) return
  const message = `has ${bytes} bytes, and a signature secret has at least ${MIN_SECRET_BYTES}: copy all of it`
  issues.push({ code: "custom", message, input: undefined })
})

const CALLBACK_AUTHS = ["signed", "token", "none"] as const
const PLATFORMS = ["opentok", "vonage"] as const
const API_SCHEMES = ["opentok", "vonage", "basic"] as const
const SOURCE_KEYS = ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"]
const DESTINATION_KEY = "{projectId}/{archiveId}/archive.ts"
const PARTS = "must be a whole number from 1 to 10000"

const oneOf = (choices: readonly string[]): string => choices.map((word) => `\`${word}\``).join(", ")

/** Every field of a project, in the order of the documents. */
export const PROJECT_FIELDS = {
  id: {
    readers: ["ingest", "worker", "vendor", "destination", "stores"],
    schema: z
      .union([z.int().nonnegative(), z.string()], { error: "is missing" })
      .transform((id) => String(id).toLowerCase())
      .refine((id) => DIGITS_OR_UUID.test(id), {
        error: "must be an OpenTok API key (digits) or a Vonage application id (UUID)",
      }),
    variable: "UNSEAL_PROJECT_ID",
    takes: "digits or a UUID",
    meaning: "the project: an OpenTok API key or a Vonage application",
  },
  platform: {
    readers: ["ingest", "worker", "vendor", "destination", "stores"],
    schema: z.enum(PLATFORMS, { error: "must be opentok or vonage" }).optional(),
    variable: "UNSEAL_PLATFORM",
    takes: oneOf(PLATFORMS),
    meaning: "the vendor's platform, which must match the id; unset, the form of the id decides",
  },
  apiAuth: {
    readers: ["vendor"],
    schema: z.enum(API_SCHEMES, { error: "must be opentok, vonage or basic" }).optional(),
    variable: "UNSEAL_API_AUTH",
    takes: oneOf(API_SCHEMES),
    meaning: "how requests to the vendor's REST API are authenticated; unset, the platform's own way",
  },
  apiSecret: {
    readers: ["vendor"],
    schema: words.optional(),
    variable: "UNSEAL_API_SECRET",
    secret: true,
    takes: "text",
    meaning: "the project's API secret, for the REST API (`opentok` and `basic`)",
  },
  applicationKey: {
    readers: ["vendor"],
    schema: words
      // Dashboards and .env files write line breaks as \n, and put the whole in quotes.
      .transform((text) =>
        text
          .trim()
          .replace(/^(["'])(.*)\1$/s, "$2")
          .replaceAll(/(\\r)?\\n/g, "\n"),
      )
      .pipe(
        z.string().regex(/-----BEGIN (RSA )?PRIVATE KEY-----/, {
          error: "holds no private key (PEM) without a passphrase",
        }),
      )
      .optional(),
    variable: "UNSEAL_APPLICATION_KEY",
    secret: true,
    takes: "PEM",
    meaning: "private key (PEM) of the Vonage application, for the REST API; it decrypts no archives",
  },
  apiUrl: {
    readers: ["vendor"],
    schema: z
      .string()
      .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
        error: "must be a URL with https://",
      })
      .optional(),
    variable: "UNSEAL_API_URL",
    takes: "a URL with https://",
    meaning: "base URL of the vendor's REST API; unset, the platform's own",
  },
  source: {
    readers: ["worker", "stores"],
    schema: checked(storeUrlProblem),
    variable: "UNSEAL_SOURCE",
    takes: "a [store URL](stores.md)",
    meaning: "store URL that the vendor uploads encrypted archives to",
  },
  destination: {
    readers: ["worker", "destination", "stores"],
    schema: checked(storeUrlProblem),
    variable: "UNSEAL_DESTINATION",
    takes: "a [store URL](stores.md)",
    meaning: "store URL that the plaintext is written to",
  },
  sourceKeys: {
    readers: ["worker", "stores"],
    schema: z
      .array(checked(keyTemplateProblem))
      .min(1, { error: "must hold at least one template" })
      .default(() => [...SOURCE_KEYS]),
    kind: "list",
    variable: "UNSEAL_SOURCE_KEYS",
    default: SOURCE_KEYS.join(","),
    takes: "templates",
    meaning: "templates of the source key, tried in order",
  },
  destinationKey: {
    readers: ["worker", "destination", "stores"],
    schema: checked(keyTemplateProblem).default(DESTINATION_KEY),
    variable: "UNSEAL_DESTINATION_KEY",
    default: DESTINATION_KEY,
    takes: "a template",
    meaning: "template of the destination key",
  },
  keys: {
    readers: ["worker"],
    schema: words,
    kind: "location",
    variable: "UNSEAL_KEYS",
    alone: ["cli"],
    formerly: { field: "keysDir", variable: "UNSEAL_KEYS_DIR" },
    takes: "a path or a URL",
    meaning:
      "path or `file:///directory` of the key ring: a directory with the private keys, `*.pem`, and the passphrase of `NAME.pem` in `NAME.passphrase`",
  },
  limits: {
    readers: ["worker"],
    schema: z
      .strictObject(
        {
          partsInFlight: z
            .int({ error: PARTS })
            .min(1, { error: PARTS })
            .max(10_000, { error: PARTS })
            .optional(),
        },
        { error: "may only hold partsInFlight" },
      )
      .default({}),
    takes: "`{ partsInFlight: 1 to 10,000 }`",
    meaning: "parts of this project in memory at once, in each worker; a limit leaves room to other projects",
  },
  callbackAuth: {
    readers: ["ingest"],
    schema: z.enum(CALLBACK_AUTHS, { error: "must be signed, token or none" }).default("signed"),
    variable: "UNSEAL_CALLBACK_AUTH",
    default: "signed",
    takes: oneOf(CALLBACK_AUTHS),
    meaning: "how a callback proves its origin",
  },
  signatureSecrets: {
    readers: ["ingest"],
    schema: z
      .array(signatureSecret)
      .max(2, { error: "holds more than two secrets: the old one and the new one are enough to rotate" })
      .default([]),
    kind: "list",
    variable: "UNSEAL_SIGNATURE_SECRET",
    secret: true,
    takes: `one or two texts of at least ${MIN_SECRET_BYTES} bytes`,
    meaning: "signature secret of `signed` callbacks; during a rotation two, both valid",
  },
  callbackToken: {
    readers: ["ingest"],
    // A path segment, so it needs no escapes. 16 characters are too many to guess.
    schema: z
      .string()
      .regex(/^[\w.~-]{16,256}$/, { error: `must have ${TOKEN_TAKES}` })
      .optional(),
    variable: "UNSEAL_CALLBACK_TOKEN",
    secret: true,
    takes: TOKEN_TAKES,
    meaning: "secret last segment of the callback URL, for callbacks that are authenticated by `token`",
  },
} as const satisfies ProjectFields

/** The fields of `reader`, by name. */
export const fieldsOf = (
  reader: ProjectsReader,
  fields: ProjectFields,
): [name: string, field: ProjectField][] =>
  Object.entries(fields).filter(([, { readers }]) => readers.includes(reader))

/** How a file spells `field`, the usual way first. Secrets are in files, which these fields name. */
export function namesInFile(name: string, { secret, kind }: ProjectField): readonly string[] {
  if (!secret) return [name]
  return kind === "list"
    ? [`${name.replace(/s$/, "")}File`, `${name}`.replace(/s$/, "Files")]
    : [`${name}File`]
}
