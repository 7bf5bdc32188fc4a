/** Reads a manifest from files, folders, standard input, or objects in a store. */
import type { OpenedStore } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { copied } from "@unseal/archive/store/small-object"
import { splitObjectUrl } from "@unseal/archive/store/url"
import type { Said } from "@unseal/operations/submission/fields"
import { readSubmission } from "@unseal/operations/submission/read"
import { env } from "../config.ts"
import { openSubmission, submissionFiles } from "../queue/submission-files.ts"
import { UsageError } from "../terminal/exit.ts"
import { sayNotices } from "../terminal/store-notices.ts"

const STORE_URL = /^(s3|azure|file):\/\//i

/** Whether `path` names an object of a store, and not a file. */
export const isObjectUrl = (path: string): boolean => STORE_URL.test(path)

/**
 * The lines of `paths`, one path after the other, numbered over all of them. `projectId` is for callbacks that name no project.
 * Throws `UsageError`, `StoreUrlError`, `SubmissionError` for what is cut or damaged, and what a store throws.
 */
export async function* readManifestLines(
  paths: readonly string[],
  projectId: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Said & { readonly line: number }> {
  let before = 0
  for (const path of paths)
    for await (const { name, bytes } of inputsOf(path, signal)) {
      let last = 0
      const options = { file: name, ...(projectId !== undefined && { projectId }) }
      for await (const one of readSubmission(bytes, options, signal)) {
        last = one.line
        const line = before + one.line
        if ("payload" in one) yield { line, payload: one.payload }
        else if ("ignored" in one) yield { line, ignored: one.ignored }
        else yield { line, malformed: one.malformed }
      }
      before += last
    }
}

interface Input {
  /** For messages. */
  readonly name: string
  readonly bytes: AsyncIterable<Uint8Array>
}

async function* inputsOf(path: string, signal: AbortSignal): AsyncGenerator<Input> {
  if (isObjectUrl(path)) {
    const { store: url, key } = splitObjectUrl(path)
    const store = await openStore(url, { env, onNotice: sayNotices(url) })
    try {
      yield { name: `${store.location}/${key}`, bytes: bytesOf(store, key, signal) }
    } finally {
      await store.close()
    }
    return
  }
  for (const file of await submissionFiles([path]))
    yield { name: file.path, bytes: openSubmission(file, signal) }
}

async function* bytesOf(store: OpenedStore, key: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const object = await store.stat(key, signal)
  if (object === null) {
    const permission = store.missingPermission?.() ?? null
    const hint = permission === null ? "check the URL" : `check the URL, and the permission ${permission}`
    throw new UsageError(`${store.location} has no object ${key}: ${hint}`)
  }
  if (object.size > 0) yield* copied(store.read(object, { start: 0, end: object.size }, signal))
}
