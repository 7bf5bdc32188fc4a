import { randomBytes } from "node:crypto"
import { existsSync, writeFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { openStore } from "@unseal/archive/store/open"
import type { Logger } from "@unseal/service/log/logger"
import { type Running, runProcess } from "@unseal/service/process"
import { createBadDay } from "./bad-day.ts"
import {
  type Archive,
  createRecordingCloud,
  DISORDERED_STATUSES,
  type RecordingCloudOptions,
  type RecordOptions,
  USUAL_STATUSES,
} from "./cloud.ts"
import { guideFor, settingsFor } from "./complete.ts"
import { readConfig, type SimulatorConfig } from "./config.ts"
import { startControlServer } from "./control.ts"
import { createCertificate } from "./recording/openssl.ts"
import { startRest, startStorage } from "./rest/start.ts"
import type { Credential } from "./s3/access/authorization.ts"
import { joined } from "./s3/access/policies.ts"
import { startS3Server } from "./s3/http/server.ts"

await runProcess("simulator", async ({ logger, configureLog }) => {
  const config = readConfig()
  configureLog(config)
  const credentials = uploadCredential(config)
  const s3 = await startBuckets(config, credentials)
  const store =
    config.SIMULATOR_STORE === undefined
      ? await openStore(ownStoreUrl(config, s3!.port), { env: config.env, credentials })
      : await openStore(config.SIMULATOR_STORE, { env: config.env })
  const badDay = createBadDay(
    {
      loseCallbacksEvery: config.SIMULATOR_CALLBACKS_LOSE_EVERY,
      delayCallbacksMs: config.SIMULATOR_CALLBACKS_DELAY_MS,
      refuseRequestsEvery: config.SIMULATOR_REST_REFUSE_EVERY,
    },
    s3?.quirks ?? null,
  )
  const vendorStorage = await startStorage(config)
  const form = { projectIdName: config.SIMULATOR_PROJECT_ID_NAME }
  const cloud = createRecordingCloud({
    certificate: await certificateOf(config),
    store,
    fallback: config.SIMULATOR_FALLBACK,
    ...(vendorStorage === null ? {} : { vendorStorage }),
    projectId: config.SIMULATOR_PROJECT_ID,
    keyTemplate: config.SIMULATOR_KEY_TEMPLATE,
    oaepHash: config.SIMULATOR_OAEP_HASH,
    form,
    observer: logTo(logger.child({ projectId: config.SIMULATOR_PROJECT_ID })),
    ...callbacksOf(config, badDay.nextCallback),
  })

  const stopping = new AbortController()
  const recordings = new Set<Promise<void>>()
  function record(wanted: Iterable<RecordOptions> | AsyncIterable<RecordOptions>): void {
    const options = { parallelism: config.SIMULATOR_PARALLELISM, signal: stopping.signal }
    // The observer logs each archive's failure.
    const ended = cloud.recordMany(wanted, options).then(
      () => {},
      () => {},
    )
    recordings.add(ended)
    ended.finally(() => recordings.delete(ended))
  }

  const control = await startControlServer({
    host: config.SIMULATOR_HOST,
    port: config.SIMULATOR_PORT,
    archives: cloud.archives,
    badDay,
    record,
  })
  const nextRecording = recordingsInTurn(config)
  const rest =
    vendorStorage &&
    (await startRest(config, { cloud, form, urlOf: vendorStorage.urlOf, nextRecording }, badDay.refuses))
  record(recordingsAtStart(config, nextRecording, stopping.signal))

  if (config.directory !== null && s3 && rest)
    explainNext(config, config.directory, { control: control.port, s3: s3.port, rest: rest.port })

  return {
    ports: {
      control: control.port,
      ...(s3 && { s3: s3.port }),
      ...(rest && { rest: rest.port, downloads: vendorStorage.port }),
    },
    async stop() {
      stopping.abort(new Error("the simulator stops"))
      await control.close()
      await Promise.all(recordings)
      await rest?.close()
      await vendorStorage?.close()
      await store.close()
      await s3?.close()
    },
  } satisfies Running
})

/** The vendor's own credential. With it, the S3 server can tell the vendor's uploads from the customer's requests. */
function uploadCredential(config: SimulatorConfig): Credential {
  const random = (bytes: number) => randomBytes(bytes).toString("hex")
  return {
    accessKeyId: config.SIMULATOR_S3_UPLOAD_ACCESS_KEY ?? `vendor${random(8)}`,
    secretAccessKey: config.SIMULATOR_S3_UPLOAD_SECRET_KEY ?? random(20),
  }
}

async function startBuckets(config: SimulatorConfig, upload: Credential) {
  if (config.SIMULATOR_S3_PORT === undefined || config.credential === null) return null
  const users = Object.entries(config.users)
  return startS3Server({
    host: config.SIMULATOR_HOST,
    port: config.SIMULATOR_S3_PORT,
    credentials: [
      config.credential,
      upload,
      ...users.map(([accessKeyId, { secretAccessKey }]) => ({ accessKeyId, secretAccessKey })),
    ],
    policies: Object.fromEntries(users.map(([id, { policies }]) => [id, joined(policies)])),
    buckets: config.SIMULATOR_S3_BUCKETS,
    quirks: config.SIMULATOR_S3_QUIRKS ?? [],
    restoreDelayMs: config.SIMULATOR_S3_RESTORE_MS,
    exemptFromQuirks: [upload.accessKeyId],
  })
}

function ownStoreUrl(config: SimulatorConfig, s3Port: number): string {
  const parameters = new URLSearchParams({
    endpoint: `http://127.0.0.1:${s3Port}`,
    region: "us-east-1",
    pathStyle: "true",
  })
  return `s3://${config.SIMULATOR_S3_BUCKETS[0]}?${parameters}`
}

async function certificateOf(config: SimulatorConfig): Promise<string | null> {
  const { SIMULATOR_CERTIFICATE_FILE: certificateFile, SIMULATOR_KEY_FILE: keyFile } = config
  if (certificateFile === undefined) return null
  if (keyFile !== undefined && !existsSync(certificateFile))
    await createCertificate({ certificateFile, keyFile })
  return readFile(certificateFile, "utf8")
}

/** Writes the other side's settings into the folder, and says on stderr what to do with them. */
function explainNext(
  config: SimulatorConfig,
  directory: string,
  ports: { readonly control: number; readonly s3: number; readonly rest: number },
): void {
  const options = {
    ...{ env: config.env, directory, ports },
    ...{ projectId: config.SIMULATOR_PROJECT_ID, buckets: config.SIMULATOR_S3_BUCKETS },
  }
  const settingsFile = join(directory, "settings")
  writeFileSync(settingsFile, settingsFor(options), { mode: 0o600 })
  process.stderr.write(guideFor(options, settingsFile))
}

function callbacksOf(
  config: SimulatorConfig,
  mishap: () => { readonly lost: boolean; readonly delayMs: number },
): Pick<RecordingCloudOptions, "callbacks"> {
  const { SIMULATOR_CALLBACK_URL: url, SIMULATOR_CALLBACK_TOKEN: token } = config
  const { SIMULATOR_SIGNATURE_SECRET: signatureSecret } = config
  if (url === undefined) return {}
  return {
    callbacks: {
      url,
      platform: config.SIMULATOR_PLATFORM,
      timeScale: config.SIMULATOR_TIME_SCALE,
      mishap,
      ...(token === undefined ? {} : { token }),
      ...(signatureSecret === undefined ? {} : { signatureSecret }),
    },
  }
}

/** The next recording's options. Archives made at the start and archives that a customer starts share one sequence. */
function recordingsInTurn(config: SimulatorConfig): () => RecordOptions {
  const sizes = config.SIMULATOR_SIZES_BYTES
  let index = 0
  return () => ({
    size: sizes[index++ % sizes.length]!,
    tail: config.SIMULATOR_TAIL,
    statuses: config.SIMULATOR_DISORDER ? DISORDERED_STATUSES : USUAL_STATUSES,
    duplicates: config.SIMULATOR_DUPLICATES,
  })
}

async function* recordingsAtStart(
  config: SimulatorConfig,
  nextRecording: () => RecordOptions,
  signal: AbortSignal,
): AsyncGenerator<RecordOptions> {
  for (let index = 0; index < config.SIMULATOR_ARCHIVES; index++) {
    if (index > 0) await sleep(60_000 / config.SIMULATOR_ARCHIVES_PER_MINUTE, undefined, { signal })
    yield nextRecording()
  }
}

function logTo(logger: Logger): NonNullable<RecordingCloudOptions["observer"]> {
  return {
    recorded(archive: Archive, err) {
      const fields = { archiveId: archive.id, size: archive.recording?.size, status: archive.status }
      if (err === null) logger.info(fields, "archive recorded")
      else logger.error({ ...fields, err }, "archive could not be uploaded")
    },
    // Logged once per callback: the schedule goes on for hours.
    retried(archive, status, { attempt, status: answer, retryInMs }) {
      if (attempt > 1) return
      const fields = {
        archiveId: archive.id,
        status,
        answer: answer ?? "none",
        retryInSeconds: retryInMs / 1_000,
      }
      logger.warn(
        fields,
        "callback not accepted: it is sent again until it is accepted; check SIMULATOR_CALLBACK_URL, and ingest",
      )
    },
    delivered(archive, { status, delivery }) {
      const fields = {
        archiveId: archive.id,
        status,
        outcome: delivery?.outcome,
        attempts: delivery?.attempts,
      }
      if (delivery?.outcome === "accepted") logger.debug(fields, "callback accepted")
      else if (delivery?.outcome === "lost") logger.info(fields, "callback lost, as the bad day demands")
      else logger.warn({ ...fields, lastAnswer: delivery?.answer }, "callback given up: it was not accepted")
    },
  }
}
