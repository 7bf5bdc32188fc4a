import { execFileSync, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type S3Server, startS3Server } from "../../apps/simulator/src/s3/http/server.ts"
import { CREDENTIALS } from "./signed-request.ts"

let server: S3Server
let directory: string
let command: string

beforeAll(async () => {
  command = findCommand()
  directory = await mkdtemp(join(tmpdir(), "unseal-test-"))
  server = await startS3Server({ credentials: [CREDENTIALS], buckets: ["archives"], directory })
})
afterAll(async () => {
  await server.close()
  await rm(directory, { recursive: true })
})

/** The AWS command line. It can't be replaced: this test is about a client that shares no code with the rest. */
function findCommand(): string {
  const works = (path: string): boolean => {
    try {
      execFileSync(path, ["--version"], { stdio: "ignore" })
      return true
    } catch {
      return false
    }
  }
  const found = ["aws", "/usr/bin/aws"].find(works)
  if (found) return found
  try {
    const options = { stdio: "ignore", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } } as const
    execFileSync("apt-get", ["update"], options)
    execFileSync("apt-get", ["install", "-y", "awscli"], options)
    return "/usr/bin/aws"
  } catch (cause) {
    throw new Error("the aws command is missing and apt-get could not install awscli: install the AWS CLI", {
      cause,
    })
  }
}

async function aws(args: readonly string[], options: { input?: Buffer; secret?: string } = {}) {
  const child = spawn(command, ["--endpoint-url", server.url, "--region", "us-east-1", ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: directory,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: options.secret ?? CREDENTIALS.secretAccessKey,
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_MAX_ATTEMPTS: "1",
      AWS_PAGER: "",
    },
  })
  child.stdin.on("error", () => {})
  child.stdin.end(options.input)
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ])
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }
}

async function succeed(args: readonly string[], input?: Buffer): Promise<Buffer> {
  const { code, stdout, stderr } = await aws(args, input && { input })
  expect(stderr).toBe("")
  expect(code).toBe(0)
  return stdout
}

const json = async (...args: string[]) =>
  JSON.parse((await succeed(["s3api", ...args, "--output", "json"])).toString())

// Each command is a Python process, which takes seconds to start on few cores.
describe("aws-cli", { timeout: 240_000 }, () => {
  it("copies 20 MB up in parts and down again, lists, finds and removes it", async () => {
    const body = randomBytes(20_000_000)
    const [up, down] = [join(directory, "up"), join(directory, "down")]
    await writeFile(up, body)
    await succeed(["s3", "cp", up, "s3://archives/big/archive.ts", "--no-progress"])
    expect(
      server.operations.count("UploadPart", (operation) => operation.status === 200),
    ).toBeGreaterThanOrEqual(2)
    expect(server.operations.count("CompleteMultipartUpload")).toBe(1)
    await succeed(["s3", "cp", "s3://archives/big/archive.ts", down, "--no-progress"])
    expect((await readFile(down)).equals(body)).toBe(true)

    expect((await succeed(["s3", "ls"])).toString()).toMatch(/ archives\n$/)
    expect((await succeed(["s3", "ls", "s3://archives/"])).toString()).toContain("PRE big/")
    expect((await succeed(["s3", "ls", "s3://archives/big/"])).toString()).toMatch(/ 20000000 archive\.ts\n$/)
    expect(await json("head-object", "--bucket", "archives", "--key", "big/archive.ts")).toMatchObject({
      ContentLength: body.length,
      ETag: expect.stringMatching(/^"[0-9a-f]{32}-\d+"$/),
    })
    expect(
      (await json("list-objects", "--bucket", "archives", "--prefix", "big/")).Contents.map(
        (one: { Key: string }) => one.Key,
      ),
    ).toEqual(["big/archive.ts"])
    await succeed(["s3", "cp", "s3://archives/big/archive.ts", "s3://archives/copy.ts", "--no-progress"])
    expect((await json("head-object", "--bucket", "archives", "--key", "copy.ts")).ContentLength).toBe(
      body.length,
    )

    await succeed(["s3", "rm", "s3://archives/", "--recursive"])
    expect((await succeed(["s3", "ls", "s3://archives/", "--recursive"])).toString()).toBe("")
  })

  it("streams from standard input and to standard output", async () => {
    const body = randomBytes(9_000_000)
    await succeed(["s3", "cp", "-", "s3://archives/with space/ü+&.ts"], body)
    expect((await succeed(["s3", "cp", "s3://archives/with space/ü+&.ts", "-"])).equals(body)).toBe(true)
  })

  it("shows and aborts an open upload", async () => {
    const target = ["--bucket", "archives", "--key", "open"]
    const sum = ["--checksum-algorithm", "CRC32"]
    const { UploadId } = await json("create-multipart-upload", ...target, ...sum)
    const body = join(directory, "part")
    await writeFile(body, "part")
    const part = [...target, "--upload-id", UploadId, "--part-number", "3", "--body", body, ...sum]
    const { ETag } = await json("upload-part", ...part)
    const { Uploads } = await json("list-multipart-uploads", "--bucket", "archives")
    expect(Uploads).toMatchObject([{ Key: "open", UploadId }])
    const { Parts } = await json("list-parts", ...target, "--upload-id", UploadId)
    expect(Parts).toMatchObject([{ PartNumber: 3, Size: 4, ETag }])
    await succeed(["s3api", "abort-multipart-upload", ...target, "--upload-id", UploadId])
    expect(server.openUploads()).toEqual([])
  })

  it("is refused with a wrong secret, and told about missing objects", async () => {
    const wrong = await aws(["s3", "ls", "s3://archives/"], { secret: "wrong" })
    expect(wrong.code).not.toBe(0)
    expect(wrong.stderr).toContain("SignatureDoesNotMatch")
    const nowhere = await aws(["s3", "ls", "s3://nowhere/"])
    expect(nowhere.stderr).toContain("NoSuchBucket")
    const absent = await aws([
      "s3api",
      "get-object",
      "--bucket",
      "archives",
      "--key",
      "absent",
      join(directory, "x"),
    ])
    expect(absent.stderr).toContain("NoSuchKey")
  })
})
