/** Where S3 credentials come from in practice, and what is reported while there are none. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { openS3Store } from "@unseal/archive/store/s3/store"
import { parseStoreUrl, type S3StoreUrl } from "@unseal/archive/store/url"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { type S3Server, startS3Server } from "../../../apps/simulator/src/s3/http/server.ts"
import { poisoned } from "../../harness/poisoned.ts"
import { expectSameBytes, readAll, sampleBytes, write } from "../suite/bytes.ts"

const PART = 6972 * 752
const SIZES = [752, 2 * PART + 752] as const
const accessKeyId = "UNSEALTESTACCESSKEY"
const secretAccessKey = "canary-secret-access-key-0123456789abcdef"
const never = new AbortController().signal
/** A role's temporary credentials, with a token. */
const SESSION = {
  accessKeyId: "ASIASESSION",
  secretAccessKey: "canary-of-a-session-0123456789",
  sessionToken: "session",
}
const ROLE = "arn:aws:iam::111122223333:role/archives"

interface CannedResponse {
  readonly status: number
  readonly body?: string
}
type Behaviour = (request: IncomingMessage) => CannedResponse

const EXPIRATION = new Date(Date.now() + 3_600_000).toISOString()
/** In the form of the metadata services. */
const asJson = {
  AccessKeyId: SESSION.accessKeyId,
  SecretAccessKey: SESSION.secretAccessKey,
  Token: SESSION.sessionToken,
  Expiration: EXPIRATION,
}
const fromSts: CannedResponse = {
  status: 200,
  body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${SESSION.accessKeyId}</AccessKeyId><SecretAccessKey>${SESSION.secretAccessKey}</SecretAccessKey><SessionToken>${SESSION.sessionToken}</SessionToken><Expiration>${EXPIRATION}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
}
const deniedBySts: CannedResponse = {
  status: 403,
  body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
}

let directory: string
let s3: S3Server
let issuer: Server
let issue: Behaviour
let opened: OpenedStore[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-s3-credentials-"))
  s3 = await startS3Server({
    credentials: [{ accessKeyId, secretAccessKey }, SESSION],
    buckets: ["archives"],
  })
  issuer = createServer((request, response) => {
    request.resume().on("end", () => {
      const { status, body = "" } = issue(request)
      response.writeHead(status, { "content-type": body.startsWith("<") ? "text/xml" : "application/json" })
      response.end(body)
    })
  })
  await new Promise<void>((resolve) => issuer.listen(0, "127.0.0.1", resolve))
  issue = () => ({ status: 500 })
  opened = []
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) vi.stubEnv(name, undefined)
  vi.stubEnv("AWS_REGION", "us-east-1")
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(directory, "credentials"))
  vi.stubEnv("AWS_CONFIG_FILE", join(directory, "config"))
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true")
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const store of opened) await store.close()
  issuer.closeAllConnections()
  issuer.close()
  await s3.close()
  await rm(directory, { recursive: true })
})

const issuerUrl = () => `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`

async function open(
  parameters: Readonly<Record<string, string>> = {},
  withRetried = false,
): Promise<OpenedStore> {
  const query = new URLSearchParams({ endpoint: s3.url, region: "us-east-1", ...parameters })
  const options = { env: process.env, partSizeBytes: PART, idleTimeoutMs: 30_000 }
  const url = parseStoreUrl(`s3://archives?${query}`) as S3StoreUrl
  const store = withRetried
    ? await openStore(`s3://archives?${query}`, options)
    : await openS3Store(url, options)
  opened.push(store)
  return poisoned(store)
}

/** Every kind of call: those signed here, and those of the SDK. */
async function expectNone(store: OpenedStore, code: string, words: RegExp): Promise<void> {
  const options = { contentType: "video/mp2t", metadata: {}, existing: "fail" } as const
  const calls = [
    () => store.open("a.ts", 1, never),
    () => store.stat("a.ts", never),
    () => store.create("a.ts", SIZES[1], options, never),
    () => Array.fromAsync(store.openUploads(never)),
  ]
  for (const call of calls) {
    const error = await call().then(
      () => expect.unreachable(),
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code, message: expect.stringMatching(words) })
    expect((error as Error).message).toMatch(/^no (usable )?credentials .*for s3:\/\/archives/)
    expect((error as Error).message).not.toContain(secretAccessKey)
  }
}

async function expectGiven(store: OpenedStore): Promise<void> {
  for (const size of SIZES) {
    const key = `${size}.ts`
    await write(store, key, sampleBytes(key, size))
    expectSameBytes(await readAll(store, key), sampleBytes(key, size))
  }
}

/** A store whose memory of a failure has expired. */
const mended = (store: OpenedStore) =>
  vi.waitFor(() => expectGiven(store), { timeout: 30_000, interval: 200 })

it("a role by web identity waits for its token file, which does not exist yet", async () => {
  const token = join(directory, "token")
  vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
  vi.stubEnv("AWS_ROLE_ARN", ROLE)
  vi.stubEnv("AWS_ENDPOINT_URL_STS", issuerUrl())
  issue = () => fromSts
  const store = await open()
  await expectNone(store, "ERR_STORE_UNAVAILABLE", /ENOENT.*token/)
  await writeFile(token, "token")
  await mended(store)
})

it("a refused role by web identity is reported as such, and not as a missing object", async () => {
  await writeFile(join(directory, "token"), "token")
  vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", join(directory, "token"))
  vi.stubEnv("AWS_ROLE_ARN", ROLE)
  vi.stubEnv("AWS_ENDPOINT_URL_STS", issuerUrl())
  issue = () => deniedBySts
  const store = await open()
  await expectNone(store, "ERR_STORE_DENIED", /AccessDenied: Not authorized to perform sts:AssumeRole/)
  expect(store.missingPermission?.()).toBeNull()
  issue = () => fromSts
  await mended(store)
})

it("a refused role by another profile is reported as such", async () => {
  const base = `[base]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`
  await writeFile(join(directory, "credentials"), base)
  await writeFile(
    join(directory, "config"),
    `[profile media]\nrole_arn = ${ROLE}\nsource_profile = base\nregion = us-east-1\n`,
  )
  vi.stubEnv("AWS_ENDPOINT_URL_STS", issuerUrl())
  issue = () => deniedBySts
  const store = await open({ profile: "media" })
  await expectNone(store, "ERR_STORE_DENIED", /AccessDenied: Not authorized to perform sts:/)
  issue = () => ({ ...fromSts, body: fromSts.body!.replaceAll("AssumeRoleWithWebIdentity", "AssumeRole") })
  await mended(store)
})

it("an outage of the token service does not pass for an answer of the store", async () => {
  await writeFile(join(directory, "token"), "token")
  vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", join(directory, "token"))
  vi.stubEnv("AWS_ROLE_ARN", ROLE)
  vi.stubEnv("AWS_ENDPOINT_URL_STS", issuerUrl())
  issue = () => ({ status: 503 })
  const store = await open()
  await expectNone(store, "ERR_STORE_UNAVAILABLE", /at the moment/)
  issue = () => fromSts
  await mended(store)
})

it("a container's credentials (ECS, pod identity) may come later", async () => {
  vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${issuerUrl()}/credentials`)
  let asked = 0
  issue = () => {
    asked++
    return { status: 404 }
  }
  const store = await open({}, true)
  await expect(store.open("a.ts", 1, never)).rejects.toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
    message: expect.stringContaining("Could not load credentials from any providers"),
  })
  // The provider itself asks four times. Its failure is remembered, so not every try of the request asks again.
  expect(asked).toBeLessThan(5 * 4)
  issue = () => ({ status: 200, body: JSON.stringify(asJson) })
  await mended(store)
}, 120_000)

it("a machine's role (IMDS) may come later", async () => {
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", undefined)
  vi.stubEnv("AWS_EC2_METADATA_SERVICE_ENDPOINT", issuerUrl())
  issue = () => ({ status: 500 })
  const store = await open()
  await expectNone(store, "ERR_STORE_UNAVAILABLE", /Could not load credentials from any providers/)
  issue = ({ url = "" }) => {
    if (url.endsWith("/api/token")) return { status: 200, body: "token" }
    if (url.endsWith("/security-credentials/")) return { status: 200, body: "archives" }
    return { status: 200, body: JSON.stringify({ Code: "Success", ...asJson }) }
  }
  await mended(store)
})

it("an SSO session that nobody has begun says how to begin it", async () => {
  await writeFile(
    join(directory, "config"),
    "[profile sso]\nsso_session = s\nsso_account_id = 111122223333\nsso_role_name = r\nregion = us-east-1\n" +
      "[sso-session s]\nsso_start_url = https://x.example/start\nsso_region = us-east-1\nsso_registration_scopes = sso:account:access\n",
  )
  await expectNone(await open({ profile: "sso" }), "ERR_STORE_DENIED", /run 'aws sso login'/)
})

it("a command that fails is not quoted, because its line may hold a secret", async () => {
  const command = `sh -c 'test -e ${directory}/there && cat ${directory}/there' ${secretAccessKey}`
  await writeFile(join(directory, "config"), `[profile command]\ncredential_process = ${command}\n`)
  const store = await open({ profile: "command" })
  await expectNone(store, "ERR_STORE_UNAVAILABLE", /credential_process.* failed/)
  await writeFile(
    join(directory, "there"),
    JSON.stringify({ Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey }),
  )
  await mended(store)
})

it("a profile that no file has is named, and works once it is written", async () => {
  const profile = `[nope]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`
  vi.stubEnv("AWS_PROFILE", "nope")
  const store = await open()
  await expectNone(store, "ERR_STORE_DENIED", /\[nope\]/)
  await writeFile(join(directory, "credentials"), profile)
  await mended(store)
})

it("the absence of any credentials is reported as such", async () => {
  await expectNone(await open(), "ERR_STORE_UNAVAILABLE", /Could not load credentials from any providers/)
})
