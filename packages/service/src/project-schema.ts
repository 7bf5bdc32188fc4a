import { z } from "zod"
import { defaultOf } from "./setting-table.ts"
import { keyTemplateProblem, locationOf, storeUrlProblem } from "./store-location.ts"

/** How a callback proves its origin. */
export type CallbackAuth = "signed" | "token" | "none"

/** What ingest knows of a project (an OpenTok API key or a Vonage application): no store and no key. */
export interface IngestProject {
  /** All digits, or a UUID in lower case. */
  readonly id: string
  readonly callbackAuth: CallbackAuth
  /** Valid at the same time, so that a secret can be rotated. Empty unless callbacks are `signed`. */
  readonly signatureSecrets: readonly string[]
  /** Present if callbacks are authenticated by `token`. */
  readonly callbackToken?: string
}

/** What the worker knows of a project: no secret of its callbacks. */
export interface WorkerProject {
  /** All digits, or a UUID in lower case. */
  readonly id: string
  /** Store URLs. */
  readonly source: string
  readonly destination: string
  /** Templates with `{projectId}` and `{archiveId}`, in the order in which they are tried. */
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  /** The directory with the private keys. */
  readonly keysDir: string
}

/** A project as one of the processes knows it. */
export type Project = IngestProject | WorkerProject

/** A project as it was written, not yet validated, and how its fields are called where it was written. */
export interface DraftProject {
  readonly fields: Readonly<Record<string, unknown>>
  /** Fields whose secret could not be read: a problem already, so that they are not said to be missing as well. */
  readonly unreadable: ReadonlySet<string>
  label(path: readonly PropertyKey[]): string
}

const REQUIRED = "is missing"
const DIGITS_OR_UUID = /^(\d{1,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

const words = z.string({ error: REQUIRED }).min(1, { error: REQUIRED })

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

/** A callback token is a path segment, so it is written without escapes; 16 characters are out of reach of guessing. */
const callbackToken = z
  .string()
  .regex(/^[\w.~-]{16,256}$/, { error: "must have 16 to 256 characters, only letters, digits and - . _ ~" })

/** The part of a project that ingest needs. */
export const ingestProject = (allowUnauthenticated: boolean) =>
  z
    .object({
      id: projectId,
      callbackAuth: z
        .enum(["signed", "token", "none"], { error: "must be signed, token or none" })
        .default("signed"),
      signatureSecrets: z
        .array(words)
        .max(2, { error: "holds more than two secrets: the old one and the new one are enough to rotate" })
        .default([]),
      callbackToken: callbackToken.optional(),
    })
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
          "is none, so that anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if that is meant",
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

/** The part of a project that the worker needs. */
export const workerProject = () =>
  z
    .object({
      id: projectId,
      source: checked(storeUrlProblem),
      destination: checked(storeUrlProblem),
      sourceKeys: z
        .array(checked(keyTemplateProblem))
        .min(1, { error: "must hold at least one template" })
        .default(() => defaultOf("UNSEAL_SOURCE_KEYS", "worker")?.split(",") ?? []),
      destinationKey: checked(keyTemplateProblem).default(
        () => defaultOf("UNSEAL_DESTINATION_KEY", "worker") ?? "",
      ),
      keysDir: words,
    })
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
    .transform((project): WorkerProject => project)
