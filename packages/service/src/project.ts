/** What each process knows of a project. project-schema.ts reads it from what was written. */

/** The two platforms of the vendor: OpenTok (legacy) and Vonage Video (unified). */
export type Platform = "opentok" | "vonage"

/** How a callback proves its origin. */
export type CallbackAuth = "signed" | "token" | "none"

/** What is asked of the vendor's REST API is asked with this. */
export type ApiCredentials =
  | { readonly scheme: "opentok" | "basic"; readonly apiSecret: string }
  /** The private key of the Vonage application, PEM. */
  | { readonly scheme: "vonage"; readonly privateKey: string }

/** What a process that speaks with the vendor's REST API knows of a project. */
export interface VendorProject {
  /** All digits, or a UUID in lower case. */
  readonly id: string
  readonly platform: Platform
  /** Absent if nothing is to be asked of the vendor for this project. */
  readonly credentials?: ApiCredentials
  /** The platform's own if absent. */
  readonly apiUrl?: string
}

/** What ingest knows of a project (an OpenTok API key or a Vonage application): no store and no key. */
export interface IngestProject {
  /** All digits, or a UUID in lower case. */
  readonly id: string
  readonly callbackAuth: CallbackAuth
  /** Valid at the same time, so that a secret can be rotated. Empty unless callbacks are `signed`. */
  readonly signatureSecrets: readonly string[]
  /** Present if callbacks are authenticated by `token`. */
  readonly callbackToken?: string
}

/** What the worker knows of a project: no secret of its callbacks. */
export interface WorkerProject {
  /** All digits, or a UUID in lower case. */
  readonly id: string
  /** Store URLs. */
  readonly source: string
  readonly destination: string
  /** Templates with `{projectId}` and `{archiveId}`, in the order in which they are tried. */
  readonly sourceKeys: readonly string[]
  readonly destinationKey: string
  /** The key ring: the path of a directory, or a URL. */
  readonly keys: string
  /** What this project may take of each worker. */
  readonly limits: ProjectLimits
}

/** Limits of a project, so that it leaves room to others. */
export interface ProjectLimits {
  /** Parts of its archives in memory at once, in one worker; as many as the worker has if absent. */
  readonly partsInFlight?: number
}

/** What a command that looks at what is done knows of a project: neither its source nor its keys. */
export type DestinationProject = Pick<WorkerProject, "id" | "destination" | "destinationKey">

/** What a command that only looks knows of a project: where its objects are, as far as that is set. */
export interface StoresProject
  extends Pick<WorkerProject, "id" | "sourceKeys" | "destinationKey">,
    Partial<Pick<WorkerProject, "source" | "destination">> {}

/** A project as one of the processes knows it. */
export type Project = IngestProject | WorkerProject | VendorProject | DestinationProject | StoresProject

/** The part of a project that each reader needs. */
export interface ProjectOf {
  readonly ingest: IngestProject
  readonly worker: WorkerProject
  readonly vendor: VendorProject
  readonly destination: DestinationProject
  readonly stores: StoresProject
}

/** Who reads projects: each process its own part, and whoever speaks with the vendor's REST API. */
export type ProjectsReader = keyof ProjectOf
