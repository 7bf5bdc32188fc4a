import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import type { ConfigurationError } from "../settings/configuration-error.ts"
import { openTlsFiles } from "./settings.ts"
import { parseRedisUrl } from "./url.ts"

it.each([
  ["redis://127.0.0.1", { form: "single", tls: false, hosts: [{ host: "127.0.0.1", port: 6379 }], db: 0 }],
  ["rediss://u:p%40%2F@h:1/7", { tls: true, username: "u", password: "p@/", db: 7 }],
  ["redis://:pw@[::1]:6380/?family=6", { password: "pw", hosts: [{ host: "::1", port: 6380 }], family: 6 }],
  ["redis://:a@b@h", { password: "a@b", hosts: [{ host: "h", port: 6379 }] }],
  [
    "redis-sentinel://u:pw@h1:26380,h2/3?sentinelMasterId=m&sentinelUsername=su&sentinelPassword=sp",
    {
      ...{ form: "sentinel", masterName: "m", sentinelUsername: "su", sentinelPassword: "sp", db: 3 },
      hosts: [
        { host: "h1", port: 26380 },
        { host: "h2", port: 26379 },
      ],
    },
  ],
  ["rediss-cluster://h1,h2:7000", { form: "cluster", tls: true, db: 0 }],
])("%s is read", (url, expected) => {
  expect(parseRedisUrl(url)).toMatchObject(expected)
})

it("shows a URL without its secrets", () => {
  const url = "redis-sentinel://u:hunter2@h1,h2/3?sentinelMasterId=m&sentinelPassword=hunter3"
  expect(parseRedisUrl(url).shown).toBe("redis-sentinel://u@h1,h2/3?sentinelMasterId=m")
})

it.each([
  ["http://h", "must be a URL with redis://, rediss://, redis-sentinel://"],
  ["redis://h1,h2", "names 2 hosts: a single Redis has one"],
  ["redis-sentinel://h1", "must name the master that the sentinels watch"],
  ["redis-cluster://h1/1", "names database 1: a Redis Cluster has database 0 only"],
  ["redis://h/x", "must end in the number of a database"],
  ["redis://h?sentinelMasterId=m", "has the parameter sentinelMasterId, which is not one of family"],
  ["redis://h?family=5", "family that is neither 4 nor 6"],
  ["redis://u:50%@h", "a % that must be written %25"],
  ["redis://h:0", "must name hosts as HOST or HOST:PORT"],
  ["redis://h:99999", "must name hosts as HOST or HOST:PORT"],
  ["redis://", "must name hosts as HOST or HOST:PORT"],
  ["redis://:hunter2/x@h", "must name hosts as HOST or HOST:PORT"],
])("%s is refused, and no secret shown", (url, problem) => {
  expect(() => parseRedisUrl(url)).toThrow(problem)
  expect(() => parseRedisUrl(url)).not.toThrow("hunter2")
})

it("reads TLS files again for each connection, and keeps the last content if one can't be read", () => {
  const directory = mkdtempSync(join(tmpdir(), "unseal-test-"))
  try {
    const ca = join(directory, "ca.crt")
    writeFileSync(ca, "-----BEGIN CERTIFICATE-----\n1")
    const files = openTlsFiles({ REDIS_URL: "rediss://h", REDIS_TLS_CA_FILE: ca })
    expect(files.ca).toMatch(/1$/)
    writeFileSync(ca, "-----BEGIN CERTIFICATE-----\n2")
    expect({ ...files }).toEqual({ ca: "-----BEGIN CERTIFICATE-----\n2" })
    rmSync(ca)
    expect(files.ca).toMatch(/2$/)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

it("reads TLS files as editors of every system save them, and waits for no pipe", () => {
  const directory = mkdtempSync(join(tmpdir(), "unseal-test-"))
  try {
    const ca = join(directory, "ca.crt")
    writeFileSync(ca, Buffer.from("\uFEFF-----BEGIN CERTIFICATE-----\n1", "utf16le"))
    expect(openTlsFiles({ REDIS_URL: "rediss://h", REDIS_TLS_CA_FILE: ca }).ca).toBe(
      "-----BEGIN CERTIFICATE-----\n1",
    )
    const pipe = join(directory, "pipe.crt")
    execFileSync("mkfifo", [pipe])
    expect(() => openTlsFiles({ REDIS_URL: "rediss://h", REDIS_TLS_CA_FILE: pipe })).toThrow(
      `REDIS_TLS_CA_FILE: ${pipe} can't be read (not a regular file)`,
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
})

it("names every problem of the TLS files at once", () => {
  let problems: readonly string[] = []
  try {
    openTlsFiles({ REDIS_URL: "redis://h", REDIS_TLS_CERT_FILE: "/nowhere.crt" })
  } catch (error) {
    problems = (error as ConfigurationError).problems
  }
  expect(problems).toEqual([
    "REDIS_TLS_CERT_FILE: /nowhere.crt can't be read (ENOENT)",
    "REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE belong together: one of them is not set",
    "REDIS_TLS_CERT_FILE is set, and REDIS_URL has no TLS: write rediss://, rediss-sentinel:// or rediss-cluster://",
  ])
})
