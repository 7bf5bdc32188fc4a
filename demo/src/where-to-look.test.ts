import { startS3Server } from "@unseal/simulator/s3/http/server"
import { S3_CREDENTIAL, s3Stores } from "@unseal/test/harness/stores"
import type { System } from "@unseal/test/harness/system"
import { expect, test } from "vitest"
import { presigned, whereToLook } from "./where-to-look.ts"

const worker = (name: string, admin: number, running: boolean) => ({
  ...{ name, ports: { admin }, running: () => running },
})
const systemOn = (stores: System["stores"]) =>
  ({
    ...{ ingest: { ports: { http: 1, admin: 2 } }, simulator: { ports: { control: 3 } } },
    workers: [worker("worker 2", 5, false), worker("worker 1", 4, false), worker("worker 3", 6, true)],
    ...{ stores, env: {} },
    redis: { env: { REDIS_URL: "rediss://127.0.0.1:7/1", REDIS_TLS_CA_FILE: "/tmp/a file.pem" } },
  }) as unknown as System

test("names the running workers, and no others", () => {
  const rows = whereToLook(systemOn(s3Stores(8)), undefined, false)
  expect(rows.filter(([name]) => name.startsWith("worker"))).toEqual([
    ["worker 3", "http://127.0.0.1:6/metrics"],
  ])
})

test("gives bucket, credential and a playable URL of a recording, which the store accepts", async () => {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = S3_CREDENTIAL
  const server = await startS3Server({
    credentials: [{ accessKeyId, secretAccessKey }],
    buckets: ["decrypted"],
  })
  try {
    const text = whereToLook(systemOn(s3Stores(server.port)), "123456/an-id/archive.ts", false)
      .map((row) => row.join(" "))
      .join("\n")
    expect(text).toContain(`bucket decrypted at ${server.url}`)
    expect(text).toContain(`AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey}`)
    const url = /curl -so recording\.ts '([^']+)' && ffplay recording\.ts/.exec(text)![1]!
    // The signature is accepted: only the object is missing.
    expect((await fetch(url)).status).toBe(404)
    expect((await fetch(url.replace("an-id", "another"))).status).toBe(403)
    const old = presigned(server.url, "/decrypted/key", S3_CREDENTIAL, new Date(Date.now() - 8 * 86_400_000))
    expect((await fetch(old)).status).toBe(403)
  } finally {
    await server.close()
  }
})

test("gives a command for the queue with everything that its Redis needs", () => {
  expect(whereToLook(systemOn(s3Stores(8)), undefined, false)).toContainEqual([
    "queue",
    "REDIS_URL='rediss://127.0.0.1:7/1' REDIS_TLS_CA_FILE='/tmp/a file.pem' npx --no-install unseal queue status",
  ])
})

test("plays a file from where it is", () => {
  const stores = { source: "file:///s", destination: "file:///tmp/decrypted", env: {}, close: async () => {} }
  const rows = whereToLook(systemOn(stores), "1/a/archive.ts", false)
  expect(rows.at(-1)).toEqual(["play", "ffplay '/tmp/decrypted/1/a/archive.ts'   (or mpv, vlc)"])
})
