/** docker-compose.yml, parsed. Only the forms that the file uses are known, so that anything else is seen. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { load, YAML11_SCHEMA } from "js-yaml"
import { z } from "zod"

export const ROOT = resolve(import.meta.dirname, "../..")

/** Where docker-compose.yml mounts keys and secrets. */
export const SECRETS = "/var/lib/unseal"

const CONDITION = z.enum(["service_healthy", "service_completed_successfully"])

const SERVICE = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.string() }).optional(),
  profiles: z.array(z.enum(["monitoring", "cli"])).optional(),
  restart: z.enum(["unless-stopped", "no"]),
  read_only: z.boolean().optional(),
  tmpfs: z.array(z.string()).optional(),
  cap_drop: z.array(z.string()).optional(),
  security_opt: z.array(z.string()).optional(),
  stop_grace_period: z.string().optional(),
  scale: z.int().optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  ports: z.array(z.string()).optional(),
  healthcheck: z
    .strictObject({
      test: z.array(z.string()),
      interval: z.string(),
      timeout: z.string(),
      retries: z.int(),
      start_period: z.string().optional(),
    })
    .optional(),
  depends_on: z.record(z.string(), z.strictObject({ condition: CONDITION })).optional(),
  mem_limit: z.string(),
  cpus: z.number(),
  pids_limit: z.int(),
  logging: z.strictObject({ driver: z.string(), options: z.record(z.string(), z.string()) }),
})

/** One service of the file, its anchors resolved. */
export type Service = z.output<typeof SERVICE>

const FILE = z
  .object({ services: z.record(z.string(), SERVICE), volumes: z.record(z.string(), z.null()) })
  .catchall(z.unknown())

/** A YAML file of the repository, with YAML 1.1's merge keys. */
export const readYaml = (path: string): unknown =>
  load(readFileSync(join(ROOT, path), "utf8"), { schema: YAML11_SCHEMA })

export function readCompose(): { services: Readonly<Record<string, Service>>; volumes: readonly string[] } {
  const file = FILE.parse(readYaml("docker-compose.yml"))
  const strange = Object.keys(file).filter(
    (name) => !["services", "volumes"].includes(name) && !name.startsWith("x-"),
  )
  if (strange.length > 0) throw new Error(`docker-compose.yml: ${strange} is not known here`)
  return { services: file.services, volumes: Object.keys(file.volumes) }
}
