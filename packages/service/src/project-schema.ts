import { z } from "zod"
import type {
  ApiCredentials,
  DestinationProject,
  IngestProject,
  Platform,
  StoresProject,
  VendorProject,
  WorkerProject,
} from "./project.ts"
import { defaultOf, type SettingName } from "./setting-table.ts"
import { keyTemplateProblem, locationOf, storeUrlProblem } from "./store-location.ts"

/** A project as it was written, not yet validated, and how its fields are called where it was written. */
export interface DraftProject {
  readonly fields: Readonly<Record<string, unknown>>
  /** Fields whose secret could not be read: a problem already, so that they are not said to be missing as well. */
  readonly unreadable: ReadonlySet<string>
  label(path: readonly PropertyKey[]): string
}

const REQUIRED = "is missing"
const DIGITS_OR_UUID = /^(\d{1,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

const words = z
  .string({
    error: ({ input }) => (input === undefined ? REQUIRED : "must be text: a number is put in quotes"),
  })
  .min(1, { error: REQUIRED })

const projectId = z
  .union([z.int().nonnegative(), z.string()], { error: "is missing" })
  .transform((id) => String(id).toLowerCase())
  .refine((id) => DIGITS_OR_UUID.test(id), {
    error: "must be an OpenTok API key (digits) or a Vonage application id (UUID)",
  })

/** Turns a function that names a problem into a check of a schema. */
const checked = (problemOf: (text: string) => string | null) =>
  words.check((context) => {
    const problem = context.value === "" ? null : problemOf(context.value)
    if (problem) context.issues.push({ code: "custom", message: problem, input: context.value })
  })

const TOKEN_TAKES = "16 to 256 characters, only letters, digits and - . _ ~"

/** A callback token is a path segment, so it is written without escapes; 16 characters are out of reach of guessing. */
const callbackToken = z.string().regex(/^[\w.~-]{16,256}$/, { error: `must have ${TOKEN_TAKES}` })

const MIN_SECRET_BYTES = 16

/** The vendor's have more than 30 characters: what has half as many was cut, or is a placeholder. */
const signatureSecret = words.check(({ value, issues }) => {
  const bytes = Buffer.byteLength(value)
  if (bytes === 0 || bytes >= MIN_SECRET_BYTES) return
  const message = `has ${bytes} bytes, and a signature secret has at least ${MIN_SECRET_BYTES}: copy all of it`
  issues.push({ code: "custom", message, input: undefined })
})

const CALLBACK_AUTHS = ["signed", "token", "none"] as const
const PLATFORMS = ["opentok", "vonage"] as const
const API_SCHEMES = ["opentok", "vonage", "basic"] as const

const platform = z.enum(PLATFORMS, { error: "must be opentok or vonage" }).optional()

/** An OpenTok API key is digits, the id of a Vonage application is a UUID. */
const platformOf = (id: string): Platform => (/^\d+$/.test(id) ? "opentok" : "vonage")

/** The platform in the file must be that of the id, in whichever process it is read. */
function checkPlatform(context: z.core.ParsePayload<{ id: string; platform?: Platform | undefined }>): void {
  const { id, platform } = context.value
  if (platform === undefined || platform === platformOf(id)) return
  const message = `is ${platform}, but the id is one of ${platformOf(id)}: OpenTok has digits, Vonage a UUID`
  context.issues.push({ code: "custom", path: ["platform"], message, input: undefined })
}

const oneOf = (choices: readonly string[]): string => choices.map((word) => `\`${word}\``).join(", ")

/** The command line reads it, too. */
export const KEYS_TAKE = "a path or a URL"

/** What the variables of a single project take, in a few words for docs/settings.md. */
export const PROJECT_TAKES = {
  UNSEAL_PROJECTS_FILE: "a path",
  UNSEAL_PROJECT_ID: "digits or a UUID",
  UNSEAL_PLATFORM: oneOf(PLATFORMS),
  UNSEAL_API_AUTH: oneOf(API_SCHEMES),
  UNSEAL_API_SECRET: "text",
  UNSEAL_APPLICATION_KEY: "PEM",
  UNSEAL_API_URL: "a URL with https://",
  UNSEAL_SOURCE: "a [store URL](stores.md)",
  UNSEAL_DESTINATION: "a [store URL](stores.md)",
  UNSEAL_SOURCE_KEYS: "templates, separated by commas",
  UNSEAL_DESTINATION_KEY: "a template",
  UNSEAL_KEYS: KEYS_TAKE,
  UNSEAL_CALLBACK_AUTH: oneOf(CALLBACK_AUTHS),
  UNSEAL_SIGNATURE_SECRET: `one or two texts of at least ${MIN_SECRET_BYTES} bytes, separated by a comma`,
  UNSEAL_CALLBACK_TOKEN: TOKEN_TAKES,
} as const satisfies Partial<Record<SettingName, string>>

/** The part of a project that is needed to speak with the vendor's REST API. */
export const vendorProject = () =>
  z
    .object({
      id: projectId,
      platform,
      apiAuth: z.enum(API_SCHEMES, { error: "must be opentok, vonage or basic" }).optional(),
      apiSecret: words.optional(),
      applicationKey: words
        // Dashboards and .env files have the line breaks as \n, and the whole in quotes.
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
      apiUrl: z
        .string()
        .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
          error: "must be a URL with https://",
        })
        .optional(),
    })
    .check(checkPlatform)
    .check((context) => {
      const { id, platform = platformOf(id), apiAuth = platform, apiSecret, applicationKey } = context.value
      const complain = (path: string, message: string) =>
        context.issues.push({ code: "custom", path: [path], message, input: undefined })
      if (apiSecret === undefined && applicationKey === undefined) return
      if (apiAuth === "vonage" && applicationKey === undefined)
        complain("applicationKey", "is missing, and the REST API is authenticated by the application's key")
      if (apiAuth !== "vonage" && apiSecret === undefined)
        complain("apiSecret", `is missing, and the REST API is authenticated by ${apiAuth}`)
    })
    .transform((given): VendorProject => {
      const { id, platform = platformOf(id), apiAuth = platform, apiSecret, applicationKey, apiUrl } = given
      const credentials: ApiCredentials | undefined =
        apiAuth === "vonage"
          ? applicationKey === undefined
            ? undefined
            : { scheme: apiAuth, privateKey: applicationKey }
          : apiSecret === undefined
            ? undefined
            : { scheme: apiAuth, apiSecret }
      return {
        ...{ id, platform },
        ...(credentials && { credentials }),
        ...(apiUrl !== undefined && { apiUrl }),
      }
    })

/** The part of a project that ingest needs. */
export const ingestProject = (allowUnauthenticated: boolean) =>
  z
    .object({
      id: projectId,
      platform,
      callbackAuth: z.enum(CALLBACK_AUTHS, { error: "must be signed, token or none" }).default("signed"),
      signatureSecrets: z
        .array(signatureSecret)
        .max(2, { error: "holds more than two secrets: the old one and the new one are enough to rotate" })
        .default([]),
      callbackToken: callbackToken.optional(),
    })
    .check(checkPlatform)
    .check((context) => {
      const { callbackAuth, signatureSecrets, callbackToken } = context.value
      const complain = (path: string, message: string) =>
        context.issues.push({ code: "custom", path: [path], message, input: undefined })
      if (callbackAuth === "signed" && signatureSecrets.length === 0)
        complain("signatureSecrets", "is missing, and callbacks are authenticated by their signature")
      if (callbackAuth === "token" && callbackToken === undefined)
        complain("callbackToken", "is missing, and callbacks are authenticated by token")
      if (callbackAuth === "none" && !allowUnauthenticated)
        complain(
          "callbackAuth",
          "is none, so anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if you want that",
        )
    })
    .transform(({ id, callbackAuth, signatureSecrets, callbackToken }): IngestProject => {
      return {
        id,
        callbackAuth,
        signatureSecrets: callbackAuth === "signed" ? signatureSecrets : [],
        ...(callbackAuth === "token" && callbackToken !== undefined ? { callbackToken } : {}),
      }
    })

const destinationKey = () =>
  checked(keyTemplateProblem).default(() => defaultOf("UNSEAL_DESTINATION_KEY", "worker") ?? "")
const sourceKeys = () =>
  z
    .array(checked(keyTemplateProblem))
    .min(1, { error: "must hold at least one template" })
    .default(() => defaultOf("UNSEAL_SOURCE_KEYS", "worker")?.split(",") ?? [])

/** The part of a project that says where its plaintext is. */
export const destinationProject = () =>
  z
    .object({
      id: projectId,
      platform,
      destination: checked(storeUrlProblem),
      destinationKey: destinationKey(),
    })
    .check(checkPlatform)
    .transform(({ platform: _, ...project }): DestinationProject => project)

/** The part of a project that says where its objects are: none of it is needed. */
export const storesProject = () =>
  z
    .object({
      id: projectId,
      platform,
      source: checked(storeUrlProblem).optional(),
      destination: checked(storeUrlProblem).optional(),
      sourceKeys: sourceKeys(),
      destinationKey: destinationKey(),
    })
    .check(checkPlatform)
    .transform(({ platform: _, source, destination, ...project }): StoresProject => {
      return { ...project, ...(source && { source }), ...(destination && { destination }) }
    })

/** The part of a project that the worker needs. */
export const workerProject = () =>
  z
    .object({
      id: projectId,
      platform,
      source: checked(storeUrlProblem),
      destination: checked(storeUrlProblem),
      sourceKeys: sourceKeys(),
      destinationKey: destinationKey(),
      keys: words,
      limits: z
        .strictObject(
          {
            partsInFlight: z
              .int({ error: "must be a whole number from 1 to 10000" })
              .min(1, { error: "must be a whole number from 1 to 10000" })
              .max(10_000, { error: "must be a whole number from 1 to 10000" })
              .optional(),
          },
          { error: "may only hold partsInFlight" },
        )
        .default({}),
    })
    .check(checkPlatform)
    .check((context) => {
      const { source, destination, sourceKeys, destinationKey } = context.value
      const target = locationOf(destination, destinationKey)
      if (sourceKeys.some((template) => locationOf(source, template) === target))
        context.issues.push({
          code: "custom",
          path: ["destinationKey"],
          message:
            "names the same object as a source key: give the destination another bucket, prefix or key, or the ciphertext would be replaced",
          input: undefined,
        })
    })
    .transform(({ platform: _, limits: { partsInFlight }, ...project }): WorkerProject => {
      return { ...project, limits: partsInFlight === undefined ? {} : { partsInFlight } }
    })
