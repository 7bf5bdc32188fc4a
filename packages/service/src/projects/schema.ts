/** What each reader makes of a project's fields: how they must fit together, and what it gets. */
import { z } from "zod"
import { fieldsOf, type PROJECT_FIELDS, type ProjectFields, type ProjectsReader } from "./fields.ts"
import { placeKeyOf } from "./store-url-check.ts"

type Fields = typeof PROJECT_FIELDS

type ShapeOf<R extends ProjectsReader> = {
  -readonly [Name in keyof Fields as R extends Fields[Name]["readers"][number]
    ? Name
    : never]: Fields[Name]["schema"]
}

/** Makes everything read-only, lists as well. */
type Read<T> = T extends readonly (infer Item)[]
  ? readonly Item[]
  : T extends object
    ? { readonly [Name in keyof T]: Read<T[Name]> }
    : T

/** The fields of `R` as written, each as its row defines. */
type Written<R extends ProjectsReader> = Read<z.output<z.ZodObject<ShapeOf<R>>>>

/** A project for ingest (an OpenTok API key or a Vonage application). Its secrets authenticate callbacks. */
export type IngestProject = Omit<Written<"ingest">, "platform">

/** A project for the worker. */
export type WorkerProject = Omit<Written<"worker">, "platform">

/** A project for a command that looks at finished work. */
export type DestinationProject = Omit<Written<"destination">, "platform">

type Optional = "source" | "destination"

/** A project for a command that only looks. */
export type StoresProject = Omit<Written<"stores">, "platform" | Optional> & {
  readonly [Name in Optional]?: string | undefined
}

/** The credential for the vendor's REST API. */
type ApiCredentials =
  | { readonly scheme: "opentok" | "basic"; readonly apiSecret: string }
  /** The private key of the Vonage application, PEM. */
  | { readonly scheme: "vonage"; readonly privateKey: string }

/** A project for a process that uses the vendor's REST API. */
export interface VendorProject
  extends Omit<Written<"vendor">, "platform" | "apiAuth" | "apiSecret" | "applicationKey"> {
  /** OpenTok (legacy) or Vonage Video (unified). */
  readonly platform: Platform
  /** Absent if the vendor is never asked for this project. */
  readonly credentials?: ApiCredentials
}

/** The part of a project that each reader gets. */
export interface ProjectOf {
  readonly ingest: IngestProject
  readonly worker: WorkerProject
  readonly vendor: VendorProject
  readonly destination: DestinationProject
  readonly stores: StoresProject
}

/** A project for any reader. */
export type Project = ProjectOf[ProjectsReader]

type Platform = "opentok" | "vonage"

/** An OpenTok API key is digits, the id of a Vonage application is a UUID. */
const platformOf = (id: string): Platform => (/^\d+$/.test(id) ? "opentok" : "vonage")

type Context<T> = z.core.ParsePayload<T>

const complain = ({ issues }: Context<unknown>, path: string, message: string): void =>
  void issues.push({ code: "custom", path: [path], message, input: undefined })

/** For every reader: a given platform must match the id. */
function checkPlatform(context: Context<{ id: string; platform?: Platform | undefined }>): void {
  const { id, platform } = context.value
  if (platform !== undefined && platform !== platformOf(id))
    complain(
      context,
      "platform",
      `is ${platform}, but the id is one of ${platformOf(id)}: OpenTok has digits, Vonage a UUID`,
    )
}

function objectOf<R extends ProjectsReader>(reader: R, fields: ProjectFields): z.ZodObject<ShapeOf<R>> {
  const shape = Object.fromEntries(fieldsOf(reader, fields).map(([name, { schema }]) => [name, schema]))
  return z.object(shape) as unknown as z.ZodObject<ShapeOf<R>>
}

function vendorSchema(fields: ProjectFields): z.ZodType<VendorProject> {
  return objectOf("vendor", fields)
    .check(checkPlatform)
    .check((context) => {
      const { id, platform = platformOf(id), apiAuth = platform, apiSecret, applicationKey } = context.value
      if (apiSecret === undefined && applicationKey === undefined) return
      const asked = "is missing, and the REST API is authenticated by"
      if (apiAuth === "vonage" && applicationKey === undefined)
        complain(context, "applicationKey", `${asked} the application's key`)
      if (apiAuth !== "vonage" && apiSecret === undefined)
        complain(context, "apiSecret", `${asked} ${apiAuth}`)
    })
    .transform(({ platform: given, apiAuth, apiSecret, applicationKey, ...project }): VendorProject => {
      const platform = given ?? platformOf(project.id)
      const scheme = apiAuth ?? platform
      const byKey = scheme === "vonage" && applicationKey !== undefined
      const bySecret = scheme !== "vonage" && apiSecret !== undefined
      return {
        ...{ ...project, platform },
        ...(byKey && { credentials: { scheme, privateKey: applicationKey } }),
        ...(bySecret && { credentials: { scheme, apiSecret } }),
      }
    })
}

function ingestSchema(fields: ProjectFields, allowUnauthenticated: boolean): z.ZodType<IngestProject> {
  return objectOf("ingest", fields)
    .check(checkPlatform)
    .check((context) => {
      const { callbackAuth, signatureSecrets, callbackToken } = context.value
      const asked = "is missing, and callbacks are authenticated by"
      if (callbackAuth === "signed" && signatureSecrets.length === 0)
        complain(context, "signatureSecrets", `${asked} their signature`)
      if (callbackAuth === "token" && callbackToken === undefined)
        complain(context, "callbackToken", `${asked} token`)
      if (callbackAuth === "none" && !allowUnauthenticated)
        complain(
          context,
          "callbackAuth",
          "is none, so anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if you want that",
        )
    })
    .transform(({ platform: _, callbackToken, ...project }): IngestProject => {
      const { callbackAuth, signatureSecrets } = project
      return {
        ...{ ...project, signatureSecrets: callbackAuth === "signed" ? signatureSecrets : [] },
        ...(callbackAuth === "token" && { callbackToken }),
      }
    })
}

function workerSchema(fields: ProjectFields): z.ZodType<WorkerProject> {
  return objectOf("worker", fields)
    .check(checkPlatform)
    .check((context) => {
      const { source, destination, sourceKeys, destinationKey } = context.value
      const target = placeKeyOf(destination, destinationKey)
      if (sourceKeys.some((template) => placeKeyOf(source, template) === target))
        complain(
          context,
          "destinationKey",
          "names the same object as a source key: give the destination another bucket, prefix or key, or the ciphertext would be replaced",
        )
    })
    .transform(({ platform: _, ...project }) => project)
}

/** Where the plaintext is. */
const destinationSchema = (fields: ProjectFields): z.ZodType<DestinationProject> =>
  objectOf("destination", fields)
    .check(checkPlatform)
    .transform(({ platform: _, ...project }) => project)

/** Where the objects are. All of it is optional. */
const storesSchema = (fields: ProjectFields): z.ZodType<StoresProject> =>
  objectOf("stores", fields)
    .partial({ source: true, destination: true })
    .check(checkPlatform)
    .transform(({ platform: _, ...project }) => project)

/** The schema of a project for `reader`. Refuses unauthenticated callbacks unless `allowUnauthenticated`. */
export function schemaOf<R extends ProjectsReader>(
  reader: R,
  {
    fields,
    allowUnauthenticated,
  }: { readonly fields: ProjectFields; readonly allowUnauthenticated: boolean },
): z.ZodType<ProjectOf[R]> {
  const schemas: { readonly [Reader in ProjectsReader]: () => z.ZodType<ProjectOf[Reader]> } = {
    ingest: () => ingestSchema(fields, allowUnauthenticated),
    worker: () => workerSchema(fields),
    vendor: () => vendorSchema(fields),
    destination: () => destinationSchema(fields),
    stores: () => storesSchema(fields),
  }
  return schemas[reader]()
}
