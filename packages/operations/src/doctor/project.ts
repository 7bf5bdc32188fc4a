/** What a worker needs of one project: its stores, its keys, and the vendor's API. */
import { isUnsealError } from "@unseal/archive/errors"
import { answerWithin, lookAtKeys, lookAtStore, NO_ARCHIVE, type SeenKey } from "@unseal/archive/first-look"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { describeNotice, type StoreNotice } from "@unseal/archive/store/notices"
import { fillKeyTemplate } from "@unseal/service/projects/key-template"
import type { WorkerProject } from "@unseal/service/projects/projects"
import type { VendorClient } from "@unseal/vendor/client"
import { type Check, type Finding, failed, failure, notChecked, ok, together, warning } from "./check.ts"
import { probeUpload } from "./destination.ts"

/** How the doctor reaches what a project names. It closes what it has opened. */
export interface ProjectAccess {
  readonly openStore: (url: string, onNotice: (notice: StoreNotice) => void) => Promise<OpenedStore>
  readonly openKeyRing: (location: string) => Promise<OpenedKeyRing>
  /** A client of the project's REST API, or why there is none: a clause. */
  readonly openVendor: (projectId: string) => VendorClient | string
}

export interface Limits {
  /** For each look, and for opening and closing what it looks at. */
  readonly limitMs: number
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

const SILENT = "see why the store does not answer: its service, and this machine's way to it"
const DAY_MS = 86_400_000
/** A new certificate needs to be made, given to the workers and registered. */
const EXPIRES_SOON_DAYS = 30

/** All checks of `project`, at the same time. Never rejects. */
export async function examineProject(
  project: Pick<WorkerProject, "id" | "source" | "sourceKeys" | "destination" | "destinationKey" | "keys">,
  access: ProjectAccess,
  limits: Limits,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const fill = (template: string) =>
    fillKeyTemplate(template, { projectId: project.id, archiveId: NO_ARCHIVE })
  const sourceKey = fill(project.sourceKeys[0]!)
  const destinationKey = fill(project.destinationKey)
  const [source, destination, keys, vendor] = await Promise.all([
    examineStore(project.source, sourceKey, access, limits, signal),
    examineStore(project.destination, destinationKey, access, limits, signal, probeUpload),
    examineKeys(project.keys, access, limits, signal),
    examineVendor(project.id, access, limits, signal),
  ])
  const of = (name: string, finding: Finding): Check => ({ name, projectId: project.id, ...finding })
  return [
    of("source", source),
    of("destination", destination),
    of("keys", keys.keys),
    of("certificates", keys.certificates),
    of("vendor", vendor),
  ]
}

type Probe = (store: OpenedStore, key: string, signal: AbortSignal) => Promise<readonly Finding[]>

async function examineStore(
  url: string,
  key: string,
  { openStore }: ProjectAccess,
  { limitMs }: Limits,
  signal: AbortSignal,
  probe?: Probe,
): Promise<Finding> {
  const notices = new Map<string, StoreNotice>()
  const within = <T>(work: (limited: AbortSignal) => Promise<T>) => answerWithin(limitMs, signal, work)
  let store: OpenedStore
  try {
    store = await within(() => openStore(url, (notice) => notices.set(notice.what, notice)))
  } catch (error) {
    return failure(error, "operator", SILENT)
  }
  const findings: Finding[] = []
  try {
    const began = performance.now()
    await lookAtStore(store, key, { limitMs, signal })
    findings.push(ok(`${store.location} answers in ${Math.round(performance.now() - began)} ms`))
    if (probe) findings.push(...(await within((limited) => probe(store, key, limited))))
  } catch (error) {
    findings.push(failure(error, "store", SILENT))
  } finally {
    await within(() => store.close()).catch(() => {})
  }
  return together([...findings, ...[...notices.values()].flatMap(findingOf)])
}

/** The probe itself reports uploads that it may not abort or list. */
function findingOf(notice: StoreNotice): readonly Finding[] {
  const seen = describeNotice(notice)
  switch (notice.what) {
    case "clock-skew":
      return Math.abs(notice.seconds) < 60 ? [] : [warning(seen, "clock", "set the wrong clock right (NTP)")]
    case "other-region":
      return [warning(seen, "operator", `add region=${notice.region} to the store's URL`)]
    case "blind":
      return [warning(seen, "store", "grant s3:ListBucket (docs/permissions.md)")]
    default:
      return []
  }
}

async function examineKeys(
  location: string,
  { openKeyRing }: ProjectAccess,
  { limitMs, now = Date.now }: Limits,
  signal: AbortSignal,
): Promise<{ readonly keys: Finding; readonly certificates: Finding }> {
  const within = <T>(work: () => Promise<T>) => answerWithin(limitMs, signal, work)
  let keyRing: OpenedKeyRing
  try {
    keyRing = await within(() => openKeyRing(location))
  } catch (error) {
    const silent = "see why the keys can't be read: a mount that hangs, or a key service that is away"
    return { keys: failure(error, "operator", silent), certificates: notChecked("the keys can't be read") }
  }
  try {
    const { keys, problems } = lookAtKeys(keyRing)
    const exposed = keyRing.notes().filter(({ kind }) => kind === "exposed")
    const names = keys.map(
      ({ file, modulusBits, keyId }) => `${file} (${modulusBits} bits, ${shortId(keyId)})`,
    )
    const problem = (seen: string): Finding =>
      keys.length === 0
        ? failed(
            seen,
            "operator",
            "put the project's private keys (*.pem) there, and correct those that can't be used",
          )
        : warning(
            seen,
            "operator",
            "correct the file or take it away: an archive that only it fits would wait",
          )
    return {
      keys: together([
        ...(keys.length === 0 ? [] : [ok(`${keys.length} in ${keyRing.location}: ${names.join(", ")}`)]),
        ...problems.map(problem),
        ...exposed.map(({ name, message }) =>
          warning(`${name}: ${message}`, "operator", "let only the worker's user read it (chmod 400)"),
        ),
      ]),
      certificates:
        keys.length === 0 ? notChecked("there is no usable key") : together(keys.map(validity(now()))),
    }
  } finally {
    await within(() => keyRing.close()).catch(() => {})
  }
}

const shortId = (keyId: string): string => keyId.slice(0, 16)

const validity =
  (now: number) =>
  ({ file, expires }: SeenKey): Finding => {
    if (expires === undefined)
      return ok(`${file} has no certificate beside it, so its expiry is not known here`)
    const date = expires.toISOString().slice(0, 10)
    const days = Math.floor((expires.getTime() - now) / DAY_MS)
    const renew = "register a new certificate (docs/rotation.md), if the vendor still encrypts under this one"
    if (days < 0)
      return warning(
        `the certificate of ${file} expired on ${date}, ${-days} days ago; its key still decrypts`,
        "operator",
        renew,
      )
    if (days < EXPIRES_SOON_DAYS)
      return warning(`the certificate of ${file} expires on ${date}, in ${days} days`, "operator", renew)
    return ok(`the certificate of ${file} expires on ${date}, in ${days} days`)
  }

/** Asks for an archive that does not exist, as a worker asks for one whose URL has expired. */
async function examineVendor(
  projectId: string,
  { openVendor }: ProjectAccess,
  { limitMs }: Limits,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    const client = openVendor(projectId)
    if (typeof client === "string") return notChecked(client)
    const began = performance.now()
    await answerWithin(limitMs, signal, (limited) => client.getArchive(NO_ARCHIVE, limited))
    return ok(
      `the REST API takes the credentials, and answers in ${Math.round(performance.now() - began)} ms`,
    )
  } catch (error) {
    // For an unusable base URL, the client says what is wrong with it before it sends anything.
    if (error instanceof RangeError)
      return failed(error.message, "operator", "correct UNSEAL_API_URL, or apiUrl in the projects file")
    const whose = isUnsealError(error, "ERR_STORE_UNAVAILABLE") ? "vendor" : "operator"
    return failure(
      error,
      whose,
      "see why the vendor does not answer: its status page, and this machine's way to it",
    )
  }
}
