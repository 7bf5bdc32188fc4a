/** Alerts that depend on the past: a few minutes, a day or a week ago. */
import { type Case, grows, PROJECT, stays } from "../case.ts"

export const FORGOTTEN: readonly Case[] = [
  {
    alert: "UnsealQueueForgotten",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { unseal_queue_accounts: [stays(110), stays(90)] },
    summary: "Deployment: Redis has lost acknowledged archives",
    description:
      'The queue has accepted 90 archives, and it had accepted more a few minutes ago. Redis was emptied, lost its newest writes, or failed over to a replica without them. "unseal archives reconcile" enqueues what is missing.',
  },
  {
    alert: "UnsealRedisRestarted",
    ...{ severity: "info", owner: "deployment", labels: {} },
    series: { unseal_redis_uptime_seconds: [grows(60), stays(30)] },
    summary: "Deployment: Redis restarted, or a younger server took over",
    description:
      "The Redis that holds the queue has been up for 35s, and an older one held it a few minutes ago.",
  },
  {
    // A new worker finds the job of one that died, and is scraped only afterwards.
    alert: "UnsealWorkersLost",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { 'unseal_stalled_total{job="worker",instance="worker-9:9091"}': ["missing", stays(1)] },
    summary: "Deployment: workers died or froze with archives in hand",
    description:
      "Archives that lost their worker in the last fifteen minutes: about 1. Other workers go on from the parts that were written. Look for restarts, a memory limit, or a blocked event loop.",
  },
]

/** The number stays, and is no news after a day. */
export const YESTERDAY: readonly Case[] = [
  {
    alert: "UnsealAccountsDrift",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { unseal_queue_missing: [stays(0), stays(2)] },
    summary: "Deployment: the queue's accounts don't add up",
    description:
      'Accepted archives that are neither committed, dead letters, live nor discarded: 2 (below 0: jobs that were never counted). Redis lost jobs, or somebody removed them. "unseal archives reconcile" enqueues what is missing.',
  },
]

export const LAST_WEEK: readonly Case[] = [
  {
    alert: "UnsealCallbacksAbsent",
    ...{ severity: "warning", owner: "vendor", labels: PROJECT },
    series: {
      'unseal_callbacks_total{project="123456",outcome="enqueued"': [grows(0.01), grows(0)],
      'unseal_callbacks_total{project="123456",outcome="duplicate"': [grows(0), grows(0)],
    },
    summary: "Vendor: no callbacks of project 123456 for an hour",
    description:
      "Ingest has taken no callback of project 123456 for an hour. In the same hour a week ago it took 660. Either nothing is being recorded, or the vendor's callbacks don't arrive.",
  },
]
