/** Stand-ins for the stores of docker-compose.yml. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import type { PolicyDocument } from "@unseal/simulator/s3/access/policies"
import { startS3Server } from "@unseal/simulator/s3/http/server"
import { z } from "zod"
import { readYaml } from "./compose-file.ts"

const IDENTITIES = z.strictObject({
  identities: z.array(
    z.strictObject({
      name: z.string(),
      credentials: z.tuple([z.strictObject({ accessKey: z.string(), secretKey: z.string() })]),
      actions: z.array(z.string().regex(/^(Admin|(Read|Write|List):[a-z]+)$/)),
    }),
  ),
})

/** What SeaweedFS lets somebody do who has its action. */
const OBJECT_ACTIONS: Readonly<Record<string, readonly string[]>> = {
  Read: ["s3:GetObject", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"],
  Write: ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
  List: ["s3:ListBucket"],
}

/** The identities of compose/seaweedfs-s3.json, with the same rights as policies. */
export function identities() {
  return IDENTITIES.parse(readYaml("compose/seaweedfs-s3.json")).identities.map(
    ({ credentials: [{ accessKey, secretKey }], actions }) => ({
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      policy: { Statement: actions.map(statement) } satisfies PolicyDocument,
    }),
  )
}

function statement(action: string) {
  const [right = "", bucket] = action.split(":")
  if (bucket === undefined) return { Effect: "Allow" as const, Action: "s3:*", Resource: "*" }
  const arn = `arn:aws:s3:::${bucket}`
  return { Effect: "Allow" as const, Action: OBJECT_ACTIONS[right]!, Resource: [arn, `${arn}/*`] }
}

/** An S3 server with the identities of docker-compose.yml's store and no bucket. */
export async function startStore(host: string, port: number) {
  const all = identities()
  return startS3Server({
    ...{ host, port, buckets: [], quirks: [], exemptFromQuirks: [] },
    credentials: all.map(({ accessKeyId, secretAccessKey }) => ({ accessKeyId, secretAccessKey })),
    policies: Object.fromEntries(all.map(({ accessKeyId, policy }) => [accessKeyId, policy])),
  })
}

/** Takes requests for containers as Azure does. `created` has their names, in order. */
export async function startContainers() {
  const created: string[] = []
  const server = createServer(({ method, url = "" }, response) => {
    const [, name] = /^\/devstoreaccount1\/([a-z]+)\?restype=container$/.exec(url) ?? []
    const isNew = method === "PUT" && name !== undefined && !created.includes(name)
    if (isNew) created.push(name)
    const code = name === undefined ? "InvalidUri" : "ContainerAlreadyExists"
    response.writeHead(isNew ? 201 : name === undefined ? 400 : 409, isNew ? {} : { "x-ms-error-code": code })
    response.end()
  })
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  return {
    created,
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((closed) => server.close(closed)),
  }
}
