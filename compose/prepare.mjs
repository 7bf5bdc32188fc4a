// Makes what docker-compose.yml's processes need and a fresh machine lacks: each project's key, certificate and secrets in the
// given directory, and the buckets and containers. What is there already stays as it is. Runs in the folder whose node_modules
// hold Unseal: in its image, or in a checkout.
import { execFileSync } from "node:child_process"
import { generateKeyPairSync, randomBytes } from "node:crypto"
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const OPENTOK = "123456"
const VONAGE = "6f0c4b2e-8c55-4c5b-9a3b-0d4f1f0e7a11"
const BUCKETS = ["recordings", "decrypted"]
/** The stores have just become healthy, and may still refuse for a moment. */
const STORES_WITHIN_MS = 60_000

const [directory] = process.argv.slice(2)
if (directory === undefined) {
  console.error("prepare.mjs needs the directory that keys and secrets go into")
  process.exit(2)
}
process.umask(0o077)
const require = createRequire(join(process.cwd(), "prepare.mjs"))

for (const project of [OPENTOK, VONAGE]) {
  keyPair(project)
  secret(join("callbacks", `${project}.signature`), () => randomBytes(32).toString("hex"))
}
secret(join("vendor", `${OPENTOK}.api`), () => randomBytes(20).toString("hex"))
applicationKey()
await Promise.all([within("S3", createBuckets), within("Azure", createContainers)])
console.log("keys, secrets and stores are there")

/** A file appears under its name only when it is whole, so that a run that was interrupted can be repeated. */
function write(name, content) {
  const path = join(directory, name)
  mkdirSync(join(path, ".."), { recursive: true })
  writeFileSync(`${path}.new`, content)
  renameSync(`${path}.new`, path)
}

function secret(name, make) {
  if (!existsSync(join(directory, name))) write(name, `${make()}\n`)
}

/** The key and its passphrase are for workers only. The vendor gets a copy of the certificate. */
function keyPair(project) {
  const keys = join(directory, "keys", project)
  if (!existsSync(keys)) {
    const fresh = join(directory, "keys", `.${project}.new`)
    rmSync(fresh, { recursive: true, force: true })
    mkdirSync(fresh, { recursive: true })
    const args = ["certificate", "create", "--generate-passphrase"]
    args.push("--out", join(fresh, "cert.pem"), "--keyout", join(fresh, "first.pem"))
    const unseal = join(process.cwd(), "node_modules/.bin/unseal")
    execFileSync(process.execPath, [unseal, ...args], { stdio: ["ignore", "ignore", "pipe"] })
    renameSync(fresh, keys)
  }
  const certificate = join(directory, "vendor", `${project}-cert.pem`)
  if (existsSync(certificate)) return
  mkdirSync(join(directory, "vendor"), { recursive: true })
  copyFileSync(join(keys, "cert.pem"), `${certificate}.new`)
  renameSync(`${certificate}.new`, certificate)
}

/** What a Vonage application's requests are signed with, and the public half for the vendor. */
function applicationKey() {
  if (existsSync(join(directory, "vendor/application.pem"))) return
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  })
  write("vendor/application-public.pem", publicKey)
  write("vendor/application.pem", privateKey)
}

async function within(store, create) {
  const deadline = Date.now() + STORES_WITHIN_MS
  for (;;)
    try {
      return await create(AbortSignal.timeout(10_000))
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${store}: ${error.message}`, { cause: error })
      await sleep(1_000)
    }
}

async function createBuckets(abortSignal) {
  const { CreateBucketCommand, S3Client } = require("@aws-sdk/client-s3")
  const client = new S3Client({ forcePathStyle: true })
  try {
    for (const Bucket of BUCKETS)
      await client.send(new CreateBucketCommand({ Bucket }), { abortSignal }).catch((error) => {
        if (!["BucketAlreadyOwnedByYou", "BucketAlreadyExists"].includes(error.name)) throw error
      })
  } finally {
    client.destroy()
  }
}

async function createContainers(abortSignal) {
  const { BlobServiceClient } = require("@azure/storage-blob")
  const client = BlobServiceClient.fromConnectionString(process.env.AZURE_STORAGE_CONNECTION_STRING)
  for (const name of BUCKETS) await client.getContainerClient(name).createIfNotExists({ abortSignal })
}
