/** The queue. */
import { type Case, DAY_SECONDS, onWorker, PROJECT, stays } from "../case.ts"

export const QUEUE_CASES: readonly Case[] = [
  {
    alert: "UnsealOldestWait",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_queue_oldest_seconds: [stays(900), stays(1_500)] },
    summary: "Deployment: archives wait for a worker",
    description:
      "The archive that has waited longest could have begun 25m 0s ago. The workers are too few, too slow, or none of them works.",
  },
  {
    alert: "UnsealOldestWait",
    ...{ severity: "critical", owner: "deployment", labels: {} },
    series: { unseal_queue_oldest_seconds: [stays(900), stays(3_700)] },
    summary: "Deployment: archives wait for a worker",
    description:
      "The archive that has waited longest could have begun 1h 1m 40s ago. The workers are too few, too slow, or none of them works.",
    also: [
      {
        alert: "UnsealOldestWait",
        ...{ severity: "warning", owner: "deployment", labels: {} },
        summary: "Deployment: archives wait for a worker",
        description:
          "The archive that has waited longest could have begun 1h 1m 40s ago. The workers are too few, too slow, or none of them works.",
      },
    ],
  },
  {
    alert: "UnsealArchiveUnfinished",
    ...{ severity: "warning", owner: "archive", labels: {} },
    series: { unseal_queue_oldest_unfinished_seconds: [stays(21_600), stays(30_000)] },
    summary: "Archive: an archive is not finished after hours",
    description:
      "An archive was accepted 8h 20m 0s ago, and is neither committed nor a dead letter. Nothing is suspended. Most often its object is not at the source.",
  },
  {
    alert: "UnsealQueuePaused",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: {
      unseal_queue_paused: [stays(0), stays(1)],
      // While the queue is paused, nothing waits for a worker.
      unseal_queue_oldest_seconds: [stays(20), stays(40 * 60)],
    },
    summary: "Deployment: the queue has been paused for half an hour",
    description:
      'Somebody paused the queue. Workers begin nothing, and archives wait until "unseal queue resume".',
  },
  {
    alert: "UnsealDeadLetters",
    ...{ severity: "warning", owner: "archive", labels: { code: "ERR_NOT_MPEG_TS" } },
    series: { 'unseal_dead_letters{code="ERR_NOT_MPEG_TS"': [stays(0), stays(3)] },
    summary: "Archive: archives were given up (ERR_NOT_MPEG_TS)",
    description:
      "Dead letters with ERR_NOT_MPEG_TS: 3. Other archives are not affected. docs/errors.md says what to do; then redrive or discard them.",
  },
  {
    alert: "UnsealDeadLetters",
    ...{ severity: "warning", owner: "deployment", labels: { code: "ERR_STORE_DENIED" } },
    series: { 'unseal_dead_letters{code="ERR_STORE_DENIED"': [stays(0), stays(1)] },
    summary: "Deployment: archives were given up (ERR_STORE_DENIED)",
    description:
      "Dead letters with ERR_STORE_DENIED: 1. The cause is here, and not in the archives. docs/errors.md says what to do; then redrive or discard them.",
  },
  {
    // UNSEAL_METRICS_PROJECT_LABEL=0
    alert: "UnsealSuspended",
    ...{ severity: "warning", owner: "deployment", labels: { side: "source" } },
    series: {
      [onWorker("unseal_suspended_seconds", 'side="source",code="ERR_STORE_DENIED"')]: [stays(60), stays(90)],
    },
    summary: "Deployment: a project is suspended (source)",
    description:
      'The archives of a project have been held back for 1m 30s, because its source can\'t be used. No attempt is used, and they go on by themselves when the cause is gone. "unseal queue status" says what is wrong and whose move it is.',
  },
  {
    alert: "UnsealSuspended",
    ...{ severity: "warning", owner: "deployment", labels: { ...PROJECT, side: "destination" } },
    series: {
      [onWorker("unseal_suspended_seconds", 'project="123456",side="destination",code="ERR_STORE_FULL"')]: [
        stays(60),
        stays(100),
      ],
      [onWorker("unseal_suspended", 'project="123456",side="destination",code="ERR_STORE_FULL"')]: [
        stays(1),
        stays(1),
      ],
    },
    summary: "Deployment: project 123456 is suspended (destination)",
    description:
      'The archives of project 123456 have been held back for 1m 40s, because its destination can\'t be used. No attempt is used, and they go on by themselves when the cause is gone. "unseal queue status" says what is wrong and whose move it is.',
  },
  {
    alert: "UnsealSuspended",
    ...{ severity: "critical", owner: "deployment", labels: { ...PROJECT, side: "keys" } },
    series: {
      [onWorker("unseal_suspended_seconds", 'project="123456",side="keys",code="ERR_KEY_INVALID"')]: [
        stays(59),
        stays(660),
      ],
    },
    summary: "Deployment: project 123456 is suspended (keys)",
    description:
      'The archives of project 123456 have been held back for 11m 0s, because its keys can\'t be used. No attempt is used, and they go on by themselves when the cause is gone. "unseal queue status" says what is wrong and whose move it is.',
    also: [
      {
        alert: "UnsealSuspended",
        ...{ severity: "warning", owner: "deployment", labels: { ...PROJECT, side: "keys" } },
        summary: "Deployment: project 123456 is suspended (keys)",
        description:
          'The archives of project 123456 have been held back for 11m 0s, because its keys can\'t be used. No attempt is used, and they go on by themselves when the cause is gone. "unseal queue status" says what is wrong and whose move it is.',
      },
    ],
  },
  {
    alert: "UnsealSuspended",
    ...{ severity: "critical", owner: "vendor", labels: { ...PROJECT, side: "vendor" } },
    series: {
      [onWorker("unseal_suspended_seconds", 'project="123456",side="vendor",code="ERR_STORE_UNAVAILABLE"')]: [
        stays(59),
        stays(660),
      ],
    },
    summary: "Vendor: project 123456 is suspended (vendor)",
    description:
      "The archives of project 123456 have been held back for 11m 0s, because the vendor's API, or its copies of archives, can't be used. No attempt is used, and they go on by themselves when the cause is gone. \"unseal queue status\" says what is wrong and whose move it is.",
    also: [
      {
        alert: "UnsealSuspended",
        ...{ severity: "warning", owner: "vendor", labels: { ...PROJECT, side: "vendor" } },
        summary: "Vendor: project 123456 is suspended (vendor)",
        description:
          "The archives of project 123456 have been held back for 11m 0s, because the vendor's API, or its copies of archives, can't be used. No attempt is used, and they go on by themselves when the cause is gone. \"unseal queue status\" says what is wrong and whose move it is.",
      },
    ],
  },
  {
    alert: "UnsealQueueUnobserved",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { 'unseal_queue_observer{job="worker",instance="worker-1': [stays(1), stays(0)] },
    summary: "Deployment: nobody observes the queue",
    description:
      "Redis works, and no process has held the observer's lease for five minutes. So nobody shows the queue, and the other alerts about it are blind.",
  },
  {
    alert: "UnsealOpenUploads",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: {
      'unseal_uploads_open{job="worker",instance="worker-1:9091",kind="orphan"': [stays(15), stays(40)],
    },
    summary: "Deployment: uploads are left behind",
    description:
      "The janitor's last sweep left 45 uploads that no job owns: too young to be judged, or spared by a dry run. The store charges for them. Workers that are killed leave some.",
  },
  {
    alert: "UnsealJanitorOverdue",
    ...{ severity: "warning", owner: "deployment", labels: {} },
    series: { unseal_uploads_swept_seconds: [stays(1.5 * DAY_SECONDS), stays(2 * DAY_SECONDS)] },
    summary: "Deployment: the janitor has not run",
    description: "The janitor last looked for open uploads 2d 0h 0m 0s ago. It ought to run once a day.",
  },
]
