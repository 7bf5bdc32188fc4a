/** Where an archive is outside the queue: at its project's source and destination, and at the vendor. Changes nothing. */

import { isUnsealError } from "@unseal/archive/errors"
import { readRecord } from "@unseal/archive/record/committed"
import { type ArchiveRecord, recordKeyOf } from "@unseal/archive/record/record"
import type { OpenedStore, StoredObject } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { StoresProject, VendorProject } from "@unseal/service/projects/projects"
import type { VendorArchive } from "@unseal/vendor/client"
import { env } from "../config.ts"
import { sayNotices } from "../terminal/store-notices.ts"
import { openVendor } from "../vendor.ts"

/** What a look has found, or why it failed. */
export type Looked<T> = { readonly found: T } | { readonly notLooked: string }

/** An object, as shown to people and machines. Sizes are bytes. */
export interface ShownObject {
  readonly store: string
  readonly key: string
  readonly size: number
  readonly etag: string
}

export interface ShownSource {
  readonly store: string
  /** The keys that were looked at, in this order. */
  readonly keys: readonly string[]
  readonly object: ShownObject | null
  /** Why an object may exist although none was seen. */
  readonly blind?: string
}

export interface ShownDestination {
  readonly store: string
  readonly key: string
  readonly object: ShownObject | null
  readonly blind?: string
  /** Whether the object's marks say that it was made from this archive. */
  readonly isMarked: boolean
  readonly record: ArchiveRecord | null
  /** Whether the record describes the existing object. */
  readonly isRecordOfObject: boolean
}

export interface ShownUpload {
  readonly key: string
  readonly startedAt: string
  readonly token: string
}

/** The vendor's data without password and URL. */
export type ShownVendor = Omit<VendorArchive, "encryptedPassword" | "url"> & { readonly encrypted: boolean }

/** An archive of one project, outside the queue. */
export interface Places {
  readonly source: Looked<ShownSource>
  readonly destination: Looked<ShownDestination>
  readonly uploads: Looked<readonly ShownUpload[]>
  /** `null` if the vendor has no such archive. */
  readonly vendor: Looked<ShownVendor | null>
}

/** Nobody at a terminal waits longer. A look takes milliseconds. */
const LOOK_MS = 20_000

/** Looks for the archive's object under `sourceKey`, or else where the project's templates lead. */
export async function lookAtPlaces(
  { archiveId, sourceKey }: { readonly archiveId: string; readonly sourceKey?: string | undefined },
  project: StoresProject,
  vendor: VendorProject | undefined,
  signal: AbortSignal,
): Promise<Places> {
  const identity = { projectId: project.id, archiveId }
  const keys =
    sourceKey === undefined
      ? project.sourceKeys.map((template) => fillKeyTemplate(template, identity))
      : [sourceKey]
  const key = fillKeyTemplate(project.destinationKey, identity)
  const [source, [destination, uploads], told] = await Promise.all([
    inStore("UNSEAL_SOURCE", project.source, signal, (store, signal) => sourceIn(store, keys, signal)),
    Promise.all([
      inStore("UNSEAL_DESTINATION", project.destination, signal, (store, signal) =>
        destinationIn(store, key, identity, signal),
      ),
      inStore("UNSEAL_DESTINATION", project.destination, signal, (store, signal) =>
        uploadsIn(store, key, signal),
      ),
    ]),
    withVendor(archiveId, project.id, vendor, signal),
  ])
  return { source, destination, uploads, vendor: told }
}

/** The result of `look` in the store of `url`. `name` is the setting that the URL comes from. */
async function inStore<T>(
  name: string,
  url: string | undefined,
  signal: AbortSignal,
  look: (store: OpenedStore, signal: AbortSignal) => Promise<T>,
): Promise<Looked<T>> {
  if (url === undefined) return { notLooked: `${name} is not set` }
  return looking(signal, async (limited) => {
    const store = await openStore(url, { env, onNotice: sayNotices(url) })
    try {
      return await look(store, limited)
    } finally {
      await store.close()
    }
  })
}

/** The result of `look`. Its failure does not prevent the other results. */
async function looking<T>(
  signal: AbortSignal,
  look: (signal: AbortSignal) => Promise<T>,
): Promise<Looked<T>> {
  const timeout = AbortSignal.timeout(LOOK_MS)
  try {
    return { found: await look(AbortSignal.any([signal, timeout])) }
  } catch (error) {
    signal.throwIfAborted()
    if (timeout.aborted) return { notLooked: `no answer within ${LOOK_MS / 1_000} s` }
    if (isUnsealError(error)) return { notLooked: `${error.code}: ${error.message}; ${error.remedy}` }
    throw error
  }
}

/** Why a missing object may merely be invisible. */
function blindness(store: OpenedStore): string | null {
  const permission = store.missingPermission?.() ?? null
  return permission === null ? null : `the credentials lack the permission ${permission}`
}

async function sourceIn(
  store: OpenedStore,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ShownSource> {
  let blind: string | null = null
  for (const key of keys) {
    const object = await store.stat(key, signal)
    if (object !== null) return { store: store.location, keys, object: shown(store, object) }
    blind ??= blindness(store)
  }
  return { store: store.location, keys, object: null, ...(blind !== null && { blind }) }
}

async function destinationIn(
  store: OpenedStore,
  key: string,
  { projectId, archiveId }: { readonly projectId: string; readonly archiveId: string },
  signal: AbortSignal,
): Promise<ShownDestination> {
  const object = await store.stat(key, signal)
  const blind = object === null ? blindness(store) : null
  const record = await readRecord(store, recordKeyOf(key), signal)
  return {
    ...{ store: store.location, key, object: object && shown(store, object), record },
    ...(blind !== null && { blind }),
    isMarked:
      object?.metadata["unseal-archive"] === archiveId && object.metadata["unseal-project"] === projectId,
    isRecordOfObject: object !== null && record?.destination.etag === object.etag,
  }
}

async function uploadsIn(store: OpenedStore, key: string, signal: AbortSignal): Promise<ShownUpload[]> {
  const uploads: ShownUpload[] = []
  for (const wanted of [key, recordKeyOf(key)])
    for await (const { key, token, startedAt } of store.openUploads(signal, wanted))
      uploads.push({ key, token, startedAt: startedAt.toISOString() })
  return uploads
}

const shown = (store: OpenedStore, { key, size, etag }: StoredObject): ShownObject => ({
  ...{ store: store.location, key, size, etag },
})

function withVendor(
  archiveId: string,
  projectId: string,
  vendor: VendorProject | undefined,
  signal: AbortSignal,
): Promise<Looked<ShownVendor | null>> {
  if (vendor?.credentials === undefined)
    return Promise.resolve({ notLooked: `project ${projectId} has no credentials for the REST API` })
  return looking(signal, async (limited) => {
    const archive = await openVendor({ project: projectId }).client.getArchive(archiveId, limited)
    if (archive === null) return null
    const { encryptedPassword, url: _, ...told } = archive
    return { ...told, encrypted: encryptedPassword !== undefined }
  })
}
