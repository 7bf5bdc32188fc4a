/** `unseal decrypt https://…` against correct TLS servers, and against servers that are wrong in each way. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import type { RequestListener } from "node:http"
import { createServer, type Server } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { runCli } from "../../harness/process.ts"

const VECTOR = join(import.meta.dirname, "../../vectors/openssl-zero")
const file = (name: string) => join(VECTOR, name)
const execute = promisify(execFile)
/** No name has a label of 64 characters, so no resolver is asked. */
const LONG = "a".repeat(64)
const QUERY = "X-Amz-Signature=do-not-show"

let directory: string
let ciphertext: Buffer
const servers: Server[] = []
const path = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-https-sources-"))
  ciphertext = await readFile(file("archive.enc"))
  await certificate("good", "IP:127.0.0.1,DNS:localhost", [])
  await certificate("other", "DNS:other.example", [])
  await certificate("old", "IP:127.0.0.1", ["20200101000000Z", "20200201000000Z"])
})
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
afterAll(() => rm(directory, { recursive: true }))

/** Makes a self-signed certificate. `names` is in openssl's form. */
async function certificate(name: string, names: string, [from, until]: readonly string[]): Promise<void> {
  const [key, request, config] = [path(`${name}.key`), path(`${name}.csr`), path(`${name}.cnf`)]
  await execute("openssl", [
    ...["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"],
    ...["-addext", `subjectAltName=${names}`, "-keyout", key, "-out", request],
  ])
  await writeFile(path(`${name}.index`), "")
  await writeFile(path(`${name}.serial`), "01\n")
  await writeFile(
    config,
    [
      ...[
        "[ca]",
        "default_ca = own",
        "[own]",
        `serial = ${path(`${name}.serial`)}`,
        `database = ${path(`${name}.index`)}`,
        "policy = any",
      ],
      ...[`new_certs_dir = ${directory}`, "default_md = sha256", "copy_extensions = copy"],
      ...["[any]", "commonName = supplied", ""],
    ].join("\n"),
  )
  await execute("openssl", [
    ...["ca", "-config", config, "-batch", "-notext", "-selfsign", "-keyfile", key],
    ...["-in", request, "-out", path(`${name}.pem`)],
    ...["-startdate", from ?? "20240101000000Z", "-enddate", until ?? "20490101000000Z"],
  ])
}

async function serve(listener: RequestListener, name = "good"): Promise<string> {
  const [key, cert] = await Promise.all([readFile(path(`${name}.key`)), readFile(path(`${name}.pem`))])
  const server = createServer({ key, cert }, listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const ranged: RequestListener = (request, response) => {
  const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
  const [start, end] = [Number(from), Math.min(Number(to) + 1, ciphertext.length)]
  response
    .writeHead(206, {
      ...{ etag: '"v1"', "content-length": end - start },
      "content-range": `bytes ${start}-${end - 1}/${ciphertext.length}`,
    })
    .end(ciphertext.subarray(start, end))
}

/** The command's output for `origin`, trusting `ca`. Checks that it does not contain the URL's query. */
async function decrypt(origin: string, ca: string | null = "good") {
  const { code, stdout, stderr } = await runCli(
    [
      ...["decrypt", `${origin}/archive.mp4?${QUERY}`, "-"],
      ...["--password-file", file("password.b64"), "--key", file("key.pem")],
    ],
    { env: ca === null ? {} : { NODE_EXTRA_CA_CERTS: path(`${ca}.pem`) } },
  )
  expect(stderr).not.toContain("do-not-show")
  return { code, stderr, stdout }
}

test("an archive is read from a host whose authority is trusted", async () => {
  const local = await runCli([
    ...["decrypt", file("archive.enc"), "-"],
    ...["--password-file", file("password.b64"), "--key", file("key.pem")],
  ])
  const { code, stdout } = await decrypt(await serve(ranged))
  expect(code).toBe(0)
  expect(local.stdout.length).toBeGreaterThan(1_000)
  expect(stdout.equals(local.stdout)).toBe(true)
})

test.each([
  [
    "an unknown authority",
    "good",
    null,
    /signed by an authority that is not trusted here/,
    /NODE_EXTRA_CA_CERTS=FILE/,
  ],
  [
    "an expired certificate",
    "old",
    "old",
    /certificate of 127\.0\.0\.1:\d+ has expired/,
    /this machine's clock/,
  ],
  [
    "another host's certificate",
    "other",
    "other",
    /was issued for another name/,
    /host name that the certificate/,
  ],
] as const)("%s is named, and needs a person", async (_name, server, ca, what, remedy) => {
  const { code, stderr } = await decrypt(await serve(ranged, server), ca)
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(what) })
  expect(stderr).toMatch(remedy)
})

test.each([401, 403, 410])("a URL answered with %d is reported as wrong or expired", async (status) => {
  const { code, stderr } = await decrypt(
    await serve((_request, response) => response.writeHead(status).end()),
  )
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(
      new RegExp(`archive\\.mp4 answered ${status}: its URL is wrong or has expired`),
    ),
  })
  expect(stderr).toMatch(/get a new URL/)
})

test("a missing object exits with 3, and its name is to be checked", async () => {
  const { code, stderr } = await decrypt(await serve((_request, response) => response.writeHead(404).end()))
  expect(code).toBe(3)
  expect(stderr).toMatch(/ERR_OBJECT_NOT_FOUND: .*archive\.mp4[\s\S]*check the name of the source/)
})

test("a host without ranges is distinguished from a web page", async () => {
  const whole =
    (type: string): RequestListener =>
    (_request, response) =>
      response.writeHead(200, { "content-type": type, etag: '"v1"' }).end(ciphertext)
  const plain = await decrypt(await serve(whole("video/mp2t")))
  expect(plain.code).toBe(1)
  expect(plain.stderr).toMatch(/can't be read in ranges: .*200 instead of 206[\s\S]*curl -fLo FILE URL/)
  const page = await decrypt(await serve(whole("text/html; charset=utf-8")))
  expect(page.code).toBe(1)
  expect(page.stderr).toMatch(/is a web page \(text\/html\), not an archive[\s\S]*in a browser/)
})

test("a host that claims more bytes than any store holds is refused at once, with the number", async () => {
  const huge: RequestListener = (request, response) => {
    const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
    const head = { etag: '"v1"', "content-range": `bytes ${from}-${to}/1000000000000000` }
    response.writeHead(206, head).end(Buffer.alloc(Number(to) + 1 - Number(from)))
  }
  const { code, stderr } = await decrypt(await serve(huge))
  expect(code).toBe(1)
  expect(stderr).toMatch(/ERR_CIPHERTEXT_INVALID: .* claims 1000000000000000 bytes, which is more than any/)
  expect(stderr).not.toContain("    at ")
})

test("a redirect that can't be followed is reported with its target", async () => {
  const to =
    (location: string): RequestListener =>
    (_request, response) =>
      response.writeHead(302, { location }).end()
  const plain = await decrypt(await serve(to(`http://files.example/a?${QUERY}`)))
  expect(plain.code).toBe(1)
  expect(plain.stderr).toMatch(
    /a redirect leads to http:\/\/files\.example: .*is not https[\s\S]*use the https URL/,
  )
  const endless = await decrypt(await serve(to(`/archive.mp4?${QUERY}`)))
  expect(endless.code).toBe(1)
  expect(endless.stderr).toMatch(/redirected more than 5 times, last to 127\.0\.0\.1:\d+\n/)
})

test("a host that is away or unknown may come back: exit code 3", async () => {
  const away = await decrypt("https://127.0.0.1:1")
  expect(away.code).toBe(3)
  expect(away.stderr).toMatch(
    /127\.0\.0\.1:1 refuses connections \(ECONNREFUSED\)[\s\S]*whether its server runs/,
  )
  const unknown = await decrypt(`https://${LONG}.invalid`)
  expect(unknown.code).toBe(3)
  expect(unknown.stderr).toMatch(/the name a{64}\.invalid could not be resolved[\s\S]*check the host name/)
})
