import { OpenAPIRegistry, OpenApiGeneratorV31, type ResponseConfig } from "@asteasolutions/zod-to-openapi"
import { callbackSchema } from "@unseal/archive/callback"
import { VERSION } from "@unseal/service/version"
import { z } from "zod"
import { problemSchema } from "./problem.ts"

const enqueuedSchema = z
  .object({ outcome: z.literal("enqueued"), jobId: z.string(), archiveId: z.string() })
  .meta({ id: "Enqueued" })

const notEnqueuedSchema = z
  .discriminatedUnion("outcome", [
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
        .meta({ description: "What the archive's job has come to, if the queue says so in time" }),
    }),
    z.object({
      outcome: z.literal("ignored"),
      reason: z.enum(["not-archive", "not-uploaded", "not-encrypted"]),
      archiveId: z.string().optional(),
    }),
  ])
  .meta({ id: "NotEnqueued" })

/** The bodies of the answers to a callback. */
export type Answer = z.infer<typeof enqueuedSchema> | z.infer<typeof notEnqueuedSchema>

const problem = (description: string): ResponseConfig => ({
  description,
  content: { "application/problem+json": { schema: problemSchema } },
})

const retry = (description: string): ResponseConfig => ({
  ...problem(description),
  headers: z.object({ "Retry-After": z.string().meta({ description: "Seconds" }) }),
})

const projectId = z.string().meta({ description: "OpenTok API key (digits) or Vonage application id (UUID)" })
const token = z.string().meta({ description: "The project's callback token" })

/** The description of the callback interface, OpenAPI 3.1, made from the schemas that the requests are judged by. */
export function openApiDocument(): object {
  const registry = new OpenAPIRegistry()
  registry.registerComponent("securitySchemes", "signature", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "HS256 with the project's signature secret; the claim payload_hash is the SHA-256 of the body, in hex",
  })
  const routes = [
    {
      path: "/callbacks/{projectId}",
      name: "",
      params: z.object({ projectId }),
      security: [{ signature: [] }, {}],
    },
    {
      path: "/callbacks/{projectId}/{token}",
      name: "WithToken",
      params: z.object({ projectId, token }),
      security: [],
    },
  ]
  for (const { path, params, name, security } of routes) {
    registry.registerPath({
      method: "post",
      path,
      operationId: `receiveCallback${name}`,
      summary: "Receive an archive-status callback",
      security,
      request: {
        params,
        body: { required: true, content: { "application/json": { schema: callbackSchema } } },
      },
      responses: {
        202: {
          description: "The archive is durably enqueued",
          content: { "application/json": { schema: enqueuedSchema } },
        },
        200: {
          description: "There is nothing to do",
          content: { "application/json": { schema: notEnqueuedSchema } },
        },
        400: problem("The body is malformed, or of another project"),
        401: problem("The project is unknown, or the signature or token is wrong"),
        413: problem("The body is larger than 16 kB"),
        415: problem("The body is not uncompressed application/json"),
        500: retry("Unseal failed to handle it: send it again"),
        503: retry(
          "Not durably enqueued, draining, not signed though it should be, or of another time: send it again",
        ),
      },
    })
    registry.registerPath({
      method: "get",
      path,
      operationId: `answerProbe${name}`,
      summary: "Answer the probe that registers the URL",
      security: [],
      request: { params },
      responses: {
        200: { description: "Callbacks are received here" },
        400: problem("The path is malformed"),
      },
    })
  }
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: "3.1.0",
    info: {
      title: "Unseal ingest",
      description: "Takes the archive-status callbacks of Vonage's OpenTok and Video platforms.",
      version: VERSION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "Where this document came from" }],
  })
}
