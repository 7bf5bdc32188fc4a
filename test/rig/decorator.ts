/**
 * What tests put around a run: fault points at the steps of the commit protocol, and missing protections. The product knows
 * nothing about it.
 */
import { setImmediate } from "node:timers/promises"
import type { KeyRing } from "@unseal/archive/format/key-ring"
import type { ArchiveSource, ArchiveStore, PartWriter } from "@unseal/archive/store/contract"
import type { JobContext } from "@unseal/queue/run/consumer"
import type { Logger } from "@unseal/service/log/logger"
import type { RunDecorator } from "../../apps/worker/src/run/run-decorator.ts"
import { createPassages, parseFaultPoint, type Step } from "./fault-point.ts"
import { destinationWithout, sourceWithout } from "./protections.ts"
import { isOff, type RigSettings } from "./settings.ts"

/** Logs every step that a run passes, as a history for the test. Throws `ConfigurationError` for an invalid fault point. */
export function createRig(settings: RigSettings, logger: Logger): RunDecorator {
  const act = createPassages(
    settings.faultPoint === undefined ? undefined : parseFaultPoint(settings.faultPoint),
  )
  return {
    around({ resources, context }) {
      const { jobId, starts } = context
      const pass = async (step: Step): Promise<void> => {
        logger.info({ step, jobId, starts }, "step")
        // Log lines are written when their turn is over, and this one must be out before a signal ends or stops the process.
        await setImmediate()
        await act(step)
      }
      const { source, destination, keyRing, destinationKey } = resources
      return {
        resources: {
          ...resources,
          source: { ...source, ...observedSource(sourceWithout(settings, source), pass) },
          destination: {
            ...destination,
            ...observedSink(destinationWithout(settings, destination, destinationKey), destinationKey, pass),
          },
          keyRing: { ...keyRing, ...observedKeyRing(keyRing, pass) },
        },
        context: {
          ...context,
          checkpoint: observedCheckpoint(context.checkpoint, pass),
          async fence() {
            await pass("before-fence")
            if (!isOff(settings, "fence")) await context.fence()
            await pass("after-fence")
          },
        },
      }
    },
  }
}

type Pass = (step: Step) => Promise<void>

const observedSource = (source: ArchiveSource, pass: Pass): ArchiveSource => ({
  ...source,
  async open(key, length, signal) {
    const opened = await source.open(key, length, signal)
    await pass("after-pin")
    return opened
  },
})

const observedKeyRing = (keyRing: KeyRing, pass: Pass): Pick<KeyRing, "unwrap"> => ({
  async unwrap(encryptedPassword, signal) {
    const unwrapped = await keyRing.unwrap(encryptedPassword, signal)
    await pass("after-unwrap")
    return unwrapped
  },
})

/** Observes the archive's own upload. The other upload is its record. */
function observedSink(store: ArchiveStore, archiveKey: string, pass: Pass): Pick<ArchiveStore, "create"> {
  return {
    async create(key, size, options, signal) {
      const isArchive = key === archiveKey
      if (isArchive) await pass("before-create")
      const writer = await store.create(key, size, options, signal)
      if (isArchive) await pass("after-create")
      return observedWriter(writer, isArchive, pass)
    },
  }
}

const observedWriter = (writer: PartWriter, isArchive: boolean, pass: Pass): PartWriter => ({
  ...writer,
  async writePart(number, body, crc32, signal) {
    const written = await writer.writePart(number, body, crc32, signal)
    if (isArchive) await pass("after-write")
    return written
  },
  async complete(parts, signal) {
    const object = await writer.complete(parts, signal)
    await pass(isArchive ? "after-complete" : "after-record")
    return object
  },
})

function observedCheckpoint(log: JobContext["checkpoint"], pass: Pass): JobContext["checkpoint"] {
  const then = async (work: Promise<void>, step: Step): Promise<void> => {
    await work
    await pass(step)
  }
  return {
    load: () => log.load(),
    begin: (upload) => then(log.begin(upload), "after-begin"),
    part: (number, receipt) => then(log.part(number, receipt), "after-part"),
    notes: (token) => log.notes(token),
    hasRivals: () => log.hasRivals(),
    seal: (record) => then(log.seal(record), "after-seal"),
    clear: () => then(log.clear(), "after-clear"),
  }
}
