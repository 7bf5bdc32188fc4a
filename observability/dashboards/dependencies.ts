/** What Unseal depends on: Redis, stores, key services, the vendor. */
import { board, UID } from "./board.ts"
import { GREEN, graph, list, number } from "./panels.ts"
import { gauge, increase, observations, quantile, rate } from "./promql.ts"
import { redis } from "./redis.ts"
import { suspensions } from "./shared.ts"

const FAILED = { outcome: { not: ["ok", "missing", "cancelled"] } }

const stores = [
  graph({
    title: "Store requests that failed, per minute",
    normal: "near zero. Each is repeated before anything else happens.",
    otherwise:
      "denied: credentials or permissions. busy: the store wants fewer requests. unavailable: the store or the way to it. The side says whose store it is.",
    runbook: ["UnsealStoreFailing"],
    unit: "count",
    width: 12,
    stacked: true,
    queries: [
      [
        "{{side}}: {{outcome}}",
        `${observations("unseal_store_request_seconds", { labels: FAILED, by: ["side", "outcome"] })} * 60 > 0`,
      ],
    ],
  }),
  graph({
    title: "Time of a store request (95 of 100)",
    normal: "a look and a read begin within 100 ms. A write takes a part's time on the network.",
    otherwise: "one side rises: that store is slow. Both rise: the workers' network or CPU.",
    more: UID.worker,
    unit: "seconds",
    width: 12,
    logarithmic: true,
    queries: [
      [
        "{{side}} {{operation}}",
        `${quantile(0.95, "unseal_store_request_seconds", { labels: { outcome: "ok" }, by: ["side", "operation"] })} >= 0`,
      ],
    ],
  }),
  graph({
    title: "Store requests, per second",
    normal: "a few for each archive, and two for each part.",
    otherwise: "many looks without reads: archives wait for objects that do not arrive.",
    unit: "count",
    width: 8,
    stacked: true,
    queries: [
      ["{{side}} {{operation}}", observations("unseal_store_request_seconds", { by: ["side", "operation"] })],
    ],
  }),
  graph({
    title: "Limits that busy stores imposed",
    normal: "nothing: no store has asked for fewer requests.",
    otherwise:
      "the store answers 503 SlowDown or 429. Unseal sends fewer requests at once until it accepts more. If it lasts, raise the store's limit.",
    runbook: ["UnsealStoreLimited"],
    unit: "count",
    width: 8,
    queries: [["{{project}} {{side}}", gauge("unseal_store_requests_limit", { by: ["project", "side"] })]],
  }),
  graph({
    title: "Looks that a store denied, per minute",
    normal: "zero.",
    otherwise:
      "the permission s3:ListBucket is missing, so a missing object can't be told from a forbidden one. docs/permissions.md has the policy.",
    unit: "count",
    width: 8,
    queries: [["denied", `${rate("unseal_blind_looks_total")} * 60`]],
  }),
]

const clocks = [
  graph({
    title: "Clocks: how far they are apart",
    normal: "within a second.",
    otherwise:
      "one instance only: its clock. All: the store's, or Redis's. Beyond 15 minutes S3 refuses every request.",
    runbook: ["UnsealClockSkew"],
    unit: "seconds",
    width: 12,
    limits: { warn: 30, side: "above" },
    queries: [
      ["stores, seen by {{instance}}", `abs(${gauge("unseal_clock_skew_seconds", { by: ["instance"] })})`],
      [
        "Redis, seen by {{instance}}",
        `abs(${gauge("unseal_redis_clock_skew_seconds", { by: ["instance"] })})`,
      ],
    ],
  }),
  number({
    title: "Open uploads nobody owns",
    normal: "0.",
    otherwise: "they cost money. The janitor removes them at its next run; check that it runs.",
    runbook: ["UnsealOpenUploads"],
    unit: "count",
    width: 6,
    height: 8,
    limits: { warn: 1, side: "above" },
    none: "the janitor never ran",
    queries: [["orphans", gauge("unseal_uploads_open", { labels: { kind: "orphan" } })]],
  }),
  number({
    title: "Janitor last ran",
    normal: "within a day.",
    otherwise: "its job does not run, or fails. `unseal janitor --dry-run` says what it would do.",
    runbook: ["UnsealJanitorOverdue"],
    unit: "seconds",
    width: 6,
    height: 8,
    limits: { warn: 2 * 86_400, side: "above" },
    none: "the janitor never ran",
    queries: [["ago", gauge("unseal_uploads_swept_seconds")]],
  }),
]

const keys = [
  graph({
    title: "Requests for keys: time (95 of 100) and failures",
    normal: "milliseconds for a directory, tens of milliseconds for a key service. No failures.",
    otherwise:
      "the key directory's mount or the key service is slow or refuses. Projects are suspended on the side keys.",
    runbook: ["UnsealSuspended"],
    unit: "seconds",
    width: 8,
    queries: [["{{outcome}}", `${quantile(0.95, "unseal_key_request_seconds", { by: ["outcome"] })} >= 0`]],
  }),
  list({
    title: "Certificates, the next to expire first",
    normal: "more than 30 days each.",
    otherwise:
      "make a new certificate and register it with the vendor (docs/rotation.md). Keep the old key: it decrypts what was recorded before.",
    runbook: ["UnsealCertificateExpires"],
    unit: "seconds",
    width: 8,
    none: "no certificate beside a key",
    queries: [["until", gauge("unseal_certificate_expiry_seconds", { by: ["key_id"] })]],
    ascending: true,
    columns: {
      key_id: { title: "Key (SHA-256 of its public key)" },
      Value: {
        title: "Expires in",
        unit: "seconds",
        width: 120,
        limits: { warn: 30 * 86_400, bad: 7 * 86_400, side: "below" },
      },
    },
  }),
  list({
    title: "Key files that can't be used",
    normal: "empty.",
    otherwise:
      "a file in the project's key directory is damaged, or its passphrase is wrong. Other keys go on. The worker's log names the file.",
    runbook: ["UnsealKeyFilesUnusable"],
    unit: "count",
    width: 8,
    none: "all key files are good",
    queries: [["files", `${gauge("unseal_key_files_unusable", { by: ["project"] })} > 0`]],
    columns: {
      project: { title: "Project", opens: [UID.project, "project"] },
      Value: { title: "Files", unit: "count", width: 100, limits: { bad: 1, side: "above" } },
    },
  }),
]

const vendor = [
  graph({
    title: "Requests to the vendor's API, per minute",
    normal: "few: only archives whose copy stays with the vendor, and reconciling, need it.",
    otherwise:
      "denied: the API secret or the application's key is wrong. unavailable: the vendor, or the way to it.",
    unit: "count",
    width: 8,
    stacked: true,
    colors: { ok: GREEN },
    queries: [["{{outcome}}", `${observations("unseal_vendor_request_seconds", { by: ["outcome"] })} * 60`]],
  }),
  graph({
    title: "Time of a request to the vendor's API",
    normal: "below a second.",
    otherwise: "the vendor is slow. Projects are suspended on the side vendor until it answers.",
    unit: "seconds",
    width: 8,
    queries: [
      ["half", `${quantile(0.5, "unseal_vendor_request_seconds", { over: "5m" })} >= 0`],
      ["95 %", `${quantile(0.95, "unseal_vendor_request_seconds", { over: "5m" })} >= 0`],
    ],
  }),
  graph({
    title: "Callbacks that announced another size than the object has",
    normal: "zero.",
    otherwise: "an object may be cut short. The record of the archive has both sizes.",
    runbook: ["UnsealSizeDiffers"],
    unit: "count",
    width: 8,
    queries: [
      [
        "differs",
        increase("unseal_announced_size_total", {
          labels: { outcome: "differs" },
          over: "$__rate_interval",
        }),
      ],
    ],
  }),
]

export const dependencies = board({
  uid: UID.dependencies,
  title: "Unseal: dependencies",
  description: "Redis, the stores, the keys and the vendor: which of them is slow, refuses or is away.",
  rows: [
    { title: "Suspensions", panels: [suspensions({ width: 24, height: 6 })] },
    { title: "Redis", panels: redis() },
    { title: "Stores", panels: stores },
    { title: "Keys", panels: keys },
    { title: "Vendor", panels: vendor },
    { title: "Clocks and uploads", panels: clocks },
  ],
})
