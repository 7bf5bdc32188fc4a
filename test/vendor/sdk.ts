/** The vendor's own SDKs, each as the tests use it. */
import { createRequire } from "node:module"
import { join } from "node:path"
import { beforeAll } from "vitest"
import { installPackages } from "../harness/packages.ts"

/** What the tests do with an SDK, whichever it is. */
export interface Sdk {
  createSession(options?: object): Promise<{ readonly sessionId: string }>
  startArchive(sessionId: string, options?: object): Promise<ToldArchive>
  stopArchive(id: string): Promise<ToldArchive>
  getArchive(id: string): Promise<ToldArchive>
  listArchives(filter: object): Promise<readonly ToldArchive[]>
  deleteArchive(id: string): Promise<unknown>
}

export interface ToldArchive {
  readonly id: string
  readonly status: string
  readonly [member: string]: unknown
}

type Call = (...args: unknown[]) => void
type OpenTok = new (
  apiKey: string,
  secret: string,
  url: string,
) => Record<
  "createSession" | "startArchive" | "stopArchive" | "getArchive" | "listArchives" | "deleteArchive",
  Call
> & {
  generateToken(sessionId: string): string
}

let require: NodeJS.Require
/** Installs the SDKs before the tests of a file. */
export function useSdks(): void {
  beforeAll(async () => {
    require = createRequire(join(await installPackages("sdks"), "package.json"))
  })
}

/** The class of the SDK for OpenTok. */
export const opentok = () => require("opentok") as OpenTok

/** Promises instead of callbacks; a list is its second result. */
export function opentokOf(projectId: string, secret: string, url: string): Sdk {
  const client = new (opentok())(projectId, secret, url)
  const call =
    (
      name:
        | "createSession"
        | "startArchive"
        | "stopArchive"
        | "getArchive"
        | "listArchives"
        | "deleteArchive",
    ) =>
    (...args: unknown[]) =>
      new Promise<never>((resolve, reject) => {
        client[name](...args, (error: unknown, result: never) => (error ? reject(error) : resolve(result)))
      })
  return {
    createSession: (options = {}) => call("createSession")(options),
    startArchive: (sessionId, options = {}) => call("startArchive")(sessionId, options),
    stopArchive: call("stopArchive"),
    getArchive: call("getArchive"),
    listArchives: call("listArchives"),
    deleteArchive: call("deleteArchive"),
  }
}

interface VonageVideo extends Omit<Sdk, "listArchives"> {
  searchArchives(filter: object): Promise<{ readonly items: readonly ToldArchive[]; readonly count: number }>
}

export function vonageOf(applicationId: string, privateKey: string, videoHost: string): Sdk {
  const { Auth } = require("@vonage/auth")
  const { Video } = require("@vonage/video")
  const client = new Video(new Auth({ applicationId, privateKey }), { videoHost }) as VonageVideo
  return {
    // Its word for routed is the REST API's; see MediaMode in @vonage/video.
    createSession: (options) => client.createSession({ mediaMode: "disabled", ...options }),
    startArchive: (sessionId, options) => client.startArchive(sessionId, options),
    stopArchive: (id) => client.stopArchive(id),
    getArchive: (id) => client.getArchive(id),
    listArchives: async (filter) => (await client.searchArchives(filter)).items,
    deleteArchive: (id) => client.deleteArchive(id),
  }
}
