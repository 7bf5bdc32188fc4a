import { VERSION } from "@unseal/service/version"
import { callbackSchema } from "@unseal/vendor/callback"
import { z } from "zod"
import { problemSchema } from "./problem.ts"

const enqueuedSchema = z.object({
  outcome: z.literal("enqueued"),
  jobId: z.string(),
  archiveId: z.string(),
})

const notEnqueuedSchema = z.discriminatedUnion("outcome", [
  z.object({
    outcome: z.literal("duplicate"),
    jobId: z.string(),
    archiveId: z.string(),
    of: z
      .object({
        state: z.enum(["committed", "dead", "live"]).meta({
          description: "live: it waits, runs or is delayed; dead: a dead letter",
        }),
        since: z.iso.datetime().meta({ description: "When it was committed, died, or was accepted" }),
      })
      .optional()
      .meta({ description: "The state of the archive's job, if the queue reports it in time" }),
  }),
  z.object({
    outcome: z.literal("ignored"),
    reason: z.enum(["not-archive", "not-uploaded", "not-encrypted"]),
    archiveId: z.string().optional(),
  }),
])

/** The bodies of answers to a callback. */
export type CallbackResponse = z.infer<typeof enqueuedSchema> | z.infer<typeof notEnqueuedSchema>

const COMPONENTS = {
  Enqueued: enqueuedSchema,
  NotEnqueued: notEnqueuedSchema,
  Problem: problemSchema,
  ArchiveStatusCallback: callbackSchema,
}

/** OpenAPI 3.1 is JSON Schema. It shows a schema's input, not what the schema turns that into. */
function componentOf(schema: z.ZodType): object {
  const { $schema: _, ...component } = z.toJSONSchema(schema, {
    ...{ io: "input", unrepresentable: "any" },
    override({ jsonSchema }) {
      // The format, or the type of a whole number, already says it.
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern
      if (jsonSchema.type !== "integer") return
      delete jsonSchema.minimum
      delete jsonSchema.maximum
    },
  })
  return component
}

const body = (type: string, name: keyof typeof COMPONENTS) => ({
  content: { [type]: { schema: { $ref: `#/components/schemas/${name}` } } },
})

const problem = (description: string) => ({ description, ...body("application/problem+json", "Problem") })

const retry = (description: string) => ({
  ...problem(description),
  headers: { "Retry-After": { description: "Seconds", required: true, schema: { type: "string" } } },
})

const inPath = (name: string, description: string) => ({
  ...{ name, in: "path", required: true, description, schema: { type: "string" } },
})

const PROJECT_ID = inPath("projectId", "OpenTok API key (digits) or Vonage application id (UUID)")
const TOKEN = inPath("token", "The project's callback token")

/** A path's operation, with its parameters and security. */
const pathOf = (name: string, parameters: readonly object[], security: readonly object[]) => ({
  post: {
    operationId: `receiveCallback${name}`,
    summary: "Receive an archive-status callback",
    security,
    parameters,
    requestBody: { required: true, ...body("application/json", "ArchiveStatusCallback") },
    responses: {
      200: { description: "There is nothing to do", ...body("application/json", "NotEnqueued") },
      202: { description: "The archive is durably enqueued", ...body("application/json", "Enqueued") },
      400: problem("The body is malformed, or belongs to another project"),
      401: problem("The project is unknown, or the signature or token is wrong"),
      413: problem("The body is larger than 16 kB"),
      415: problem("The body is not uncompressed application/json"),
      500: retry("Unseal failed to handle it: send it again"),
      503: retry(
        "Not durably enqueued, draining, not signed although it must be, or with a wrong time: send it again",
      ),
    },
  },
  get: {
    operationId: `answerProbe${name}`,
    summary: "Answer the probe that registers the URL",
    security: [],
    parameters,
    responses: {
      200: { description: "Callbacks are received here" },
      400: problem("The path is malformed"),
    },
  },
})

/** The OpenAPI 3.1 description of the callback interface, generated from the schemas that validate the requests. */
export const openApiDocument = (): object => ({
  openapi: "3.1.0",
  info: {
    title: "Unseal ingest",
    description: "Takes the archive-status callbacks of Vonage's OpenTok and Video platforms.",
    version: VERSION,
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  servers: [{ url: "/", description: "Where this document came from" }],
  components: {
    securitySchemes: {
      signature: {
        type: "http",
        scheme: "bearer",
        bearerFormat: "JWT",
        description:
          "HS256 with the project's signature secret; the claim payload_hash is the SHA-256 of the body, in hex",
      },
    },
    schemas: Object.fromEntries(
      Object.entries(COMPONENTS).map(([name, schema]) => [name, componentOf(schema)]),
    ),
  },
  paths: {
    "/callbacks/{projectId}": pathOf("", [PROJECT_ID], [{ signature: [] }, {}]),
    "/callbacks/{projectId}/{token}": pathOf("WithToken", [PROJECT_ID, TOKEN], []),
  },
})
