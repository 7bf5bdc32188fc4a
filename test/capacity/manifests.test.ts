/** What `unseal capacity` takes for given is what the manifests and the settings say. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { BY_DEFAULT, IN_MANIFESTS } from "@unseal/operations/capacity/capacity"
import { defaultOf, type SettingName } from "@unseal/service/settings/table"
import { expect, test } from "vitest"

const manifest = (path: string) => readFileSync(resolve(import.meta.dirname, "../../k8s", path), "utf8")
const numbers = (path: string, key: string, unit: string) =>
  [...manifest(path).matchAll(new RegExp(`${key}:? *\\n? *(?:- )?(\\d+)${unit}$`, "gm"))].map(([, number]) =>
    Number(number),
  )

test("memory of workers, ingest and Redis, and the most workers", () => {
  const mebibytes = (bytes: number) => bytes / 2 ** 20
  const { workerBytes, ingestBytes, redisBytes, mostWorkers } = IN_MANIFESTS
  expect(numbers("base/worker.yaml", "memory", "Mi")).toEqual([
    mebibytes(workerBytes),
    mebibytes(workerBytes),
  ])
  expect(numbers("base/ingest.yaml", "memory", "Mi")).toEqual([
    mebibytes(ingestBytes),
    mebibytes(ingestBytes),
  ])
  // Redis's own mb are mebibytes.
  expect(numbers("components/redis/redis.yaml", "--maxmemory", "mb")).toEqual([mebibytes(redisBytes)])
  expect(numbers("components/keda/scaled-object.yaml", "maxReplicaCount", "")).toEqual([mostWorkers])
  expect(numbers("components/hpa/horizontal-pod-autoscaler.yaml", "maxReplicas", "")).toEqual([mostWorkers])
})

test("the defaults of settings", () => {
  for (const [name, value] of Object.entries(BY_DEFAULT))
    expect(Number(defaultOf(name as SettingName, "worker")), name).toBe(value)
})
