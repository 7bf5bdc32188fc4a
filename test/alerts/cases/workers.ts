/** Workers, keys, stores, clocks and targets. */
import { type Case, DAY_SECONDS, grows, onWorker, PROJECT, stays, WORKER } from "../case.ts"

export const WORKER_CASES: readonly Case[] = [
  {
    alert: "UnsealRunsStuck",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_runs_stuck_total: [stays(0), grows(0.1)] },
    summary: "Deployment: runs were aborted because nothing moved",
    description:
      "Runs aborted in the last half hour because nothing moved for ten minutes: about 3. They are tried again, with an attempt used. The log says what they waited for.",
  },
  {
    alert: "UnsealRunIdle",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_run_idle_seconds: [stays(300), stays(330)] },
    summary: "Deployment: a run does not move",
    description:
      "A run has made no step and moved no byte for 5m 30s. It is aborted after ten minutes, and tried again.",
  },
  {
    alert: "UnsealWorkersLost",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_stalled_total: [stays(0), grows(0.2)] },
    summary: "Deployment: workers died or froze with archives in hand",
    description:
      "Archives that lost their worker in the last fifteen minutes: about 3. Other workers go on from the parts that were written. Look for restarts, a memory limit, or a blocked event loop.",
  },
  {
    alert: "UnsealAttemptsFail",
    ...{ severity: "warning", owner: "deployment", labels: { code: "ERR_UNEXPECTED" } },
    series: { 'unseal_retries_total{layer="job"': [grows(0.05), grows(0.3)] },
    summary: "Deployment: runs fail and use attempts (ERR_UNEXPECTED)",
    description:
      "Runs that failed with ERR_UNEXPECTED in the last fifteen minutes: about 4. Each used one of its archive's attempts. docs/errors.md says what it means.",
  },
  {
    alert: "UnsealSizeDiffers",
    ...{ severity: "warning", owner: "vendor", labels: {} },
    series: { 'unseal_announced_size_total{outcome="differs"': [stays(0), grows(0.1)] },
    summary: "Vendor: objects don't have the announced size",
    description:
      "Objects in the last hour that had another size than their callbacks announced: about 4. They may be cut short, which decrypting does not show. The log and the records name them.",
  },
  {
    alert: "UnsealWorkerAside",
    ...{ severity: "warning", owner: "deployment" },
    labels: { ...PROJECT, ...WORKER, side: "keys" },
    series: { [onWorker("unseal_worker_aside", 'project="123456",side="keys"')]: ["missing", stays(1)] },
    summary: "Deployment: worker worker-1:9091 stands aside from project 123456",
    description:
      "Worker worker-1:9091 fails at the keys of project 123456, where other workers succeed. It takes none of its archives until a look succeeds. Compare its mounts, credentials and network with the others'.",
  },
  {
    alert: "UnsealWorkersSaturated",
    ...{ severity: "warning", owner: "deployment", labels: { limit: "slots" } },
    series: {
      'unseal_slots_busy{job="worker",instance="worker-1': [stays(8), stays(8)],
      'unseal_slots_busy{job="worker",instance="worker-2': [stays(7), stays(8)],
      unseal_queue_oldest_seconds: [stays(400), stays(400)],
    },
    summary: "Deployment: the workers have no slots left",
    description:
      "For half an hour, archives have waited while the workers used 100% of their slots. Add workers, or raise UNSEAL_CONCURRENCY if their CPU and memory have room.",
  },
  {
    alert: "UnsealWorkersSaturated",
    ...{ severity: "warning", owner: "deployment", labels: { limit: "memory" } },
    series: {
      'unseal_memory_budget_used_bytes{job="worker",instance="worker-1': [stays(39e6), stays(39e6)],
      'unseal_memory_budget_used_bytes{job="worker",instance="worker-2': [stays(39e6), stays(39e6)],
      // Without a wait, full workers are busy workers.
      unseal_queue_oldest_seconds: [stays(300), stays(400)],
    },
    summary: "Deployment: the workers have no memory left",
    description:
      "For half an hour, archives have waited while the workers used 97.5% of their memory. Add workers, or raise UNSEAL_PARTS_IN_FLIGHT and the memory limit.",
  },
  {
    alert: "UnsealStoreFailing",
    ...{ severity: "warning", owner: "deployment", labels: { side: "source" } },
    series: {
      // A hundred a minute succeed.
      [onWorker(
        "unseal_store_request_seconds_count",
        'side="source",operation="read",outcome="unavailable"',
      )]: [grows(10), grows(40)],
    },
    summary: "Deployment: requests to a store fail (source)",
    description:
      "28.57% of the requests to stores (source) failed in the last five minutes. They are repeated, and archives take longer. If it gets worse, the project is suspended.",
  },
  {
    alert: "UnsealStoreFailing",
    ...{ severity: "warning", owner: "vendor", labels: { side: "vendor" } },
    series: {
      [onWorker("unseal_store_request_seconds_count", 'side="vendor",operation="read",outcome="other"')]: [
        grows(0.4),
        grows(2),
      ],
    },
    summary: "Vendor: requests for the vendor's copies fail",
    description:
      "33.33% of the requests to the vendor's copies of archives failed in the last five minutes. They are repeated, and archives take longer. If it gets worse, the project is suspended.",
  },
  {
    alert: "UnsealStoreLimited",
    ...{ severity: "info", owner: "deployment", labels: { ...PROJECT, side: "source" } },
    series: {
      [onWorker("unseal_store_requests_limit", 'project="123456",side="source"')]: ["missing", stays(4)],
    },
    summary: "Deployment: the source of project 123456 asks for fewer requests",
    description:
      "The store has refused requests for their rate (503 SlowDown, 429) for ten minutes. A worker sends it at most 4 at a time. No attempt is used, and archives take longer. If it lasts, raise the store's limit.",
  },
  {
    alert: "UnsealKeyFilesUnusable",
    ...{ severity: "warning", owner: "deployment", labels: PROJECT },
    series: { unseal_key_files_unusable: [stays(0), stays(2)] },
    summary: "Deployment: key files of project 123456 can't be used",
    description:
      "Files in the key directory of project 123456 that hold no usable key (damaged, or without their passphrase): 2. A key that was usable before stays in use until the worker ends.",
  },
  {
    alert: "UnsealCertificateExpires",
    ...{ severity: "warning", owner: "deployment", labels: { key_id: "ab12" } },
    series: { unseal_certificate_expiry_seconds: [stays(30 * DAY_SECONDS), stays(29 * DAY_SECONDS)] },
    summary: "Deployment: a certificate expires soon",
    description:
      "The certificate of key ab12 expires in 29d 0h 0m 0s. Make a new pair, give workers the key, then give the vendor the certificate (docs/rotation.md).",
  },
  {
    alert: "UnsealCertificateExpires",
    ...{ severity: "critical", owner: "deployment", labels: { key_id: "ab12" } },
    series: { unseal_certificate_expiry_seconds: [stays(31 * DAY_SECONDS), stays(6 * DAY_SECONDS)] },
    summary: "Deployment: a certificate expires soon",
    description:
      "The certificate of key ab12 expires in 6d 0h 0m 0s. Make a new pair, give workers the key, then give the vendor the certificate (docs/rotation.md).",
  },
  {
    alert: "UnsealCertificateExpired",
    ...{ severity: "critical", owner: "deployment", labels: { key_id: "ab12" } },
    series: { unseal_certificate_expiry_seconds: [stays(31 * DAY_SECONDS), stays(-3_600)] },
    summary: "Deployment: a certificate has expired",
    description:
      "The certificate of key ab12 has expired. Archives under it are still decrypted, but the vendor may refuse it. If it was replaced, remove the certificate's file; keep the key.",
  },
  {
    alert: "UnsealClockSkew",
    ...{ severity: "warning", owner: "deployment", labels: { ...WORKER, peer: "store" } },
    series: { unseal_clock_skew_seconds: [stays(-30), stays(-3_600)] },
    summary: "Deployment: the clock of worker-1:9091 is wrong, or that of its store",
    description:
      "The clocks of worker-1:9091 and its store are 1h 0m 0s apart. Unseal works around it, but callbacks and waits may be judged wrongly. Synchronize both.",
  },
  {
    alert: "UnsealClockSkew",
    ...{ severity: "warning", owner: "deployment" },
    labels: { job: "ingest", instance: "ingest-1:9090", peer: "Redis" },
    series: { unseal_redis_clock_skew_seconds: [stays(30), stays(45)] },
    summary: "Deployment: the clock of ingest-1:9090 is wrong, or that of its Redis",
    description:
      "The clocks of ingest-1:9090 and its Redis are 45s apart. Unseal works around it, but callbacks and waits may be judged wrongly. Synchronize both.",
  },
  {
    alert: "UnsealTargetDown",
    ...{ severity: "warning", owner: "deployment" },
    labels: { job: "worker", instance: "worker-2:9091" },
    series: { 'up{job="worker",instance="worker-2': [stays(1), stays(0)] },
    summary: "Deployment: worker-2:9091 can't be scraped",
    description:
      "Prometheus gets no metrics from worker-2:9091 (job worker). The process is down, frozen, or out of reach.",
  },
  {
    alert: "UnsealIngestAbsent",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { unseal_connections_cut_total: [stays(0), "missing"] },
    summary: "Deployment: no ingest is there",
    description:
      "Prometheus sees no ingest. Callbacks are not taken. The vendor repeats them for a while, then they are lost.",
  },
  {
    alert: "UnsealWorkersAbsent",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: {
      'unseal_parts_in_flight{job="worker",instance="worker-1': ["missing", "missing"],
      'unseal_parts_in_flight{job="worker",instance="worker-2': [stays(0), "missing"],
    },
    summary: "Deployment: no worker is there",
    description: "Prometheus sees no worker. Nothing is decrypted. Callbacks are taken, and archives wait.",
  },
]
