/** Settings of all processes, or of the servers among them: Redis, the queue, the log and the ports. */
import { EVERY_SERVER, type SettingRow } from "./row.ts"

export const PROCESS_SETTINGS = {
  REDIS_URL: {
    for: ["ingest", "worker", "console", "cli"],
    default: "redis://127.0.0.1:6379",
    meaning:
      "the Redis that holds the queue: `redis://user:password@host:6379/0`, `redis-sentinel://host,host/0?sentinelMasterId=NAME` or `redis-cluster://host,host`; `rediss://`, `rediss-sentinel://`, `rediss-cluster://` for TLS",
    secret: true,
  },
  REDIS_TLS_CA_FILE: {
    for: ["ingest", "worker", "console", "cli"],
    default: null,
    meaning: "file with the certificates (PEM) of the authorities to trust for Redis, instead of Node's own",
  },
  REDIS_TLS_CERT_FILE: {
    for: ["ingest", "worker", "console", "cli"],
    default: null,
    meaning: "file with the client certificate (PEM), for a Redis that asks for one",
  },
  REDIS_TLS_KEY_FILE: {
    for: ["ingest", "worker", "console", "cli"],
    default: null,
    meaning: "file with the private key (PEM) of the client certificate",
  },
  LOG_LEVEL: {
    for: EVERY_SERVER,
    default: "info",
    meaning: "the least severe lines that are logged",
  },
  LOG_FORMAT: {
    for: EVERY_SERVER,
    default: null,
    meaning:
      "form of the log: one JSON object per line, or text for people. Unset, it is text if standard output is a terminal",
  },
  UNSEAL_QUEUE: {
    for: ["ingest", "worker", "console", "cli"],
    default: "unseal",
    meaning: "name of the queue; its keys in Redis begin with `{unseal}`",
  },
  UNSEAL_REDIS_DURABILITY: {
    for: ["ingest", "worker", "cli"],
    default: "require",
    meaning:
      "what to do at start with a Redis that may lose writes that it acknowledged (no AOF, not `appendfsync always`, an eviction policy): refuse it (`require`) or only log a warning (`warn`)",
  },
  UNSEAL_REDIS_REPLICAS: {
    for: ["ingest", "cli"],
    default: "0",
    meaning:
      "how many replicas of Redis must have a callback before it is acknowledged; with fewer, ingest answers 503. Set 1 with Sentinel or Cluster: with 0, a failover may lose what was acknowledged just before",
  },
  UNSEAL_HOST: {
    for: ["ingest", "worker", "console"],
    default: null,
    meaning:
      "address that the process listens on, admin port included. The admin port shows no secret and changes nothing. Unset, the process listens on every address of the machine, IPv4 and IPv6, because probes and scrapes come from outside a pod",
  },
  UNSEAL_PORT: {
    for: ["ingest", "console"],
    default: { ingest: "8080", console: "8081" },
    meaning: "port that takes callbacks, or serves the console's pages; 0 takes any free one",
  },
  UNSEAL_ADMIN_PORT: {
    for: ["ingest", "worker", "console"],
    default: { ingest: "9090", worker: "9091", console: "9092" },
    meaning: "port of `/healthz`, `/readyz` and `/metrics`; 0 takes any free one",
  },
  UNSEAL_METRICS_PROJECT_LABEL: {
    for: ["ingest", "worker"],
    default: "1",
    meaning:
      "whether metrics have the label `project`. `0` drops it: with thousands of projects, a scrape is then as small as with one",
  },
} as const satisfies Record<string, SettingRow>
