/** `docs/endpoints.md`: what ingest and the admin ports answer, from `openapi.json` and the routes. */

import { ADMIN_ENDPOINTS } from "@unseal/service/admin"
import { openApiDocument } from "../../apps/ingest/src/openapi.ts"
import { PROBLEMS } from "../../apps/ingest/src/problem.ts"
import { code, generated, table } from "./markdown.ts"

interface Operation {
  readonly summary?: string
  readonly security?: readonly Readonly<Record<string, unknown>>[]
  readonly responses: Readonly<Record<string, { readonly description: string }>>
}

/** Who may call, from the security that `openapi.json` states. */
function callerOf(method: string, path: string, { security = [] }: Operation): string {
  if (method === "get") return "anybody"
  if (security.some((scheme) => Object.keys(scheme).length > 0))
    return "the vendor: signed (mode `signed`); anybody in mode `none`"
  return path.includes("{token}") ? "the vendor: by the token in the path (mode `token`)" : "anybody"
}

const answersOf = (responses: Operation["responses"] | Readonly<Record<number, string>>): string =>
  Object.entries(responses)
    .map(([status, answer]) => `**${status}** ${typeof answer === "string" ? answer : answer.description}`)
    .join("<br>")

export function endpointsDocument(): string {
  const { paths } = openApiDocument() as { paths: Record<string, Record<string, Operation>> }
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      code(`${method.toUpperCase()} ${path}`),
      callerOf(method, path, operation),
      operation.summary ?? "",
      answersOf(operation.responses),
    ]),
  )
  const admin = Object.entries(ADMIN_ENDPOINTS).map(([path, { tells, answers }]) => [
    code(`GET ${path}`),
    "anybody who reaches the port",
    tells,
    answersOf(answers),
  ])
  const problems = Object.entries(PROBLEMS).map(([name, { status, title, meaning }]) => [
    code(name),
    `${status} ${title}`,
    meaning,
    status >= 500 ? "sends it again" : "gives up",
  ])
  return generated(
    "Endpoints",
    "## Ingest",
    "The vendor's endpoints are on `UNSEAL_PORT`. `UNSEAL_CALLBACK_NETWORKS` limits where connections may come from. `GET /openapi.json` has the schemas of requests and responses. Errors are `application/problem+json` (RFC 9457).",
    table(
      ["endpoint", "who may call", "does", "answers"],
      [
        ...routes,
        [
          code("GET /openapi.json"),
          "anybody",
          "Describe these endpoints (OpenAPI 3.1)",
          "**200** The description",
        ],
      ],
    ),
    "`HEAD` works like `GET`. `unseal_callbacks_total` counts each refused callback under its outcome, and the log names the reason. Each 500 and 503 has a `Retry-After`.",
    table(["outcome", "answer", "what happened", "the vendor then"], problems),
    "## Admin port",
    "Ingest, each worker and the console serve probes and scrapes on `UNSEAL_ADMIN_PORT`. The port shows no secret and changes nothing. `HEAD` works like `GET`. Anything else is 404.",
    table(["endpoint", "who may call", "tells", "answers"], admin),
  )
}
