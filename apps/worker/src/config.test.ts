import { ConfigurationError } from "@unseal/service/settings/settings"
import { expect, test } from "vitest"
import { readConfig } from "./config.ts"

const ENV = {
  UNSEAL_PROJECT_ID: "100001",
  UNSEAL_SOURCE: "s3://in?region=eu-west-1",
  UNSEAL_DESTINATION: "file:///tmp/out",
  UNSEAL_KEYS: "/keys",
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig({ ...ENV, ...env })
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

test("four settings are enough, and the rest has the documented defaults", () => {
  const { settings, projects } = readConfig(ENV)
  expect(settings).toEqual({
    REDIS_URL: "redis://127.0.0.1:6379",
    LOG_LEVEL: "info",
    UNSEAL_METRICS_PROJECT_LABEL: true,
    UNSEAL_QUEUE: "unseal",
    UNSEAL_REDIS_DURABILITY: "require",
    UNSEAL_ADMIN_PORT: 9091,
    UNSEAL_CONCURRENCY: 8,
    UNSEAL_PARTS_IN_FLIGHT: 8,
    UNSEAL_PART_SIZE_BYTES: 8_389_312,
    UNSEAL_LOCK_MS: 60_000,
    UNSEAL_STALL_CHECK_MS: 15_000,
    UNSEAL_ATTEMPTS: 12,
    UNSEAL_BACKFILL_FEED: true,
    UNSEAL_BACKFILL_WINDOW: 10_000,
    UNSEAL_SUSPEND_MAX_MS: 86_400_000,
    UNSEAL_BULK_SHARE: 5,
    UNSEAL_TAIL: "keep",
    UNSEAL_OAEP_HASH: "sha1",
    UNSEAL_DIGEST: "sha256",
    UNSEAL_ANNOUNCED_DIGEST: "record",
    UNSEAL_ANNOUNCED_SIZE: "record",
    UNSEAL_MAX_DAMAGE: 50,
    UNSEAL_VERIFY: "size",
    UNSEAL_EXISTING: "fail",
    UNSEAL_FALLBACK_HOSTS: [
      { host: ".amazonaws.com", isWildcard: true, port: 443 },
      { host: ".tokbox.com", isWildcard: true, port: 443 },
      { host: ".opentok.com", isWildcard: true, port: 443 },
      { host: ".vonage.com", isWildcard: true, port: 443 },
    ],
  })
  expect(projects.ids).toEqual(["100001"])
})

test("every problem is reported at once, those of store URLs included", () => {
  const problems = problemsOf({
    UNSEAL_CONCURRENCY: "0",
    UNSEAL_TAIL: "cut",
    UNSEAL_CONCURENCY: "4",
  }).join("\n")
  for (const name of ["UNSEAL_CONCURRENCY", "UNSEAL_TAIL", "UNSEAL_CONCURENCY"])
    expect(problems).toContain(name)
})

test("a store URL with an unknown parameter is refused before anything is connected", () => {
  const [problem] = problemsOf({ UNSEAL_SOURCE: "s3://in?regoin=eu-west-1" })
  expect(problem).toContain("source of project 100001")
  expect(problem).toContain("regoin")
})

test("an unusable proxy is refused before anything is connected, without its password", () => {
  const [problem] = problemsOf({ HTTPS_PROXY: "socks5://ops:hunter2hunter2@proxy:1080" })
  expect(problem).toMatch(/HTTPS_PROXY is not a proxy: http:\/\/host:port or https:\/\/host:port/)
  expect(problem).not.toContain("hunter2")
})

test("a parameter for the other side is refused, with the project's name", () => {
  const [problem] = problemsOf({ UNSEAL_SOURCE: "s3://in?region=eu-west-1&acl=private" })
  expect(problem).toMatch(/source of project 100001: acl is for the destination/)
})

test("keys with an unknown scheme are refused before anything is connected, without their secrets", () => {
  expect(problemsOf({ UNSEAL_KEYS: "pkcs11:token=a;pin-value=hunter2" })).toEqual([
    "key ring of project 100001 has the unknown scheme pkcs11: (known are a path, file:///directory)",
  ])
  expect(problemsOf({ UNSEAL_KEYS_DIR: "/keys" })).toEqual([
    "UNSEAL_KEYS_DIR is called UNSEAL_KEYS now: rename it",
  ])
  expect(problemsOf({ UNSEAL_KEYS: "file:///keys" })).toEqual([])
})
