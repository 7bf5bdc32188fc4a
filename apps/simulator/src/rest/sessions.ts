/**
 * Sessions, and their archives, which are recorded until somebody stops them ("Session creation" and "Archiving" in the OpenTok
 * REST API reference). Nobody connects to a simulated session, so each one counts as having a publisher.
 */
import { isIPv4 } from "node:net"
import type { Archive, LiveRecording, RecordingCloud, RecordOptions } from "../cloud.ts"
import { parseArchiveRequest } from "./archive-request.ts"
import { Problem } from "./problem.ts"
import { newSessionId } from "./session-id.ts"

export interface SessionsOptions {
  readonly projectId: string
  readonly cloud: RecordingCloud
  /** The options of the next archive. */
  nextRecording(): RecordOptions
}

export interface Sessions {
  /** Creates a session from form fields. Returns the vendor's answer. */
  create(form: string): readonly object[]
  /** Starts an archive from a JSON body. */
  start(body: string): Archive
  stop(archiveId: string): Archive
  /** Ends every recording without uploading it. */
  close(): Promise<void>
}

interface Live extends LiveRecording {
  readonly sessionId: string
  readonly tag: string | undefined
}

/** What the vendor's SDKs send for an unset field. */
const UNSET = new Set([null, "", "null", "undefined"])

/** Starts without sessions. Every method throws a `Problem` for what the vendor refuses. */
export function createSessions({ projectId, cloud, nextRecording }: SessionsOptions): Sessions {
  const routedById = new Map<string, boolean>()
  const live = new Map<string, Live>()
  const closing = new AbortController()

  function begin(wanted: RecordOptions & { readonly sessionId: string }): Archive {
    const { sessionId, settings } = wanted
    const recording = cloud.start(wanted, closing.signal)
    const { archive } = recording
    live.set(archive.id, { ...recording, sessionId, tag: settings?.multiArchiveTag })
    const forget = () => live.delete(archive.id)
    recording.ended.then(forget, forget)
    return archive
  }

  const isRecorded = (sessionId: string, tag: string | undefined): boolean =>
    [...live.values()].some(
      (one) => one.sessionId === sessionId && one.tag === tag && one.archive.status === "started",
    )

  return {
    create(form) {
      const fields = new URLSearchParams(form)
      const field = (name: string) => (UNSET.has(fields.get(name)) ? null : fields.get(name))
      const archiveMode = oneOf("archiveMode", field("archiveMode") ?? "manual", ["manual", "always"])
      const routed =
        oneOf("p2p.preference", field("p2p.preference") ?? "disabled", ["enabled", "disabled"]) === "disabled"
      const location = field("location")
      if (location !== null && !isIPv4(location)) throw new Problem(400, "location is not an IPv4 address")
      if (archiveMode === "always" && !routed)
        throw new Problem(400, "archiveMode always needs p2p.preference disabled")
      const sessionId = newSessionId(projectId)
      routedById.set(sessionId, routed)
      if (archiveMode === "always") begin({ ...nextRecording(), sessionId })
      return [
        {
          session_id: sessionId,
          project_id: projectId,
          partner_id: projectId,
          create_dt: new Date().toString(),
          media_server_url: "",
        },
      ]
    },

    start(body) {
      const { sessionId, ...asked } = parseArchiveRequest(body)
      const routed = routedById.get(sessionId)
      if (routed === undefined) throw new Problem(404, "no such session")
      if (!routed) throw new Problem(409, "the session does not use the media router")
      if (isRecorded(sessionId, asked.settings.multiArchiveTag))
        throw new Problem(409, "the session is already being recorded, under the same multiArchiveTag")
      return begin({ ...nextRecording(), ...asked, sessionId })
    },

    stop(archiveId) {
      if (!cloud.archives.has(archiveId)) throw new Problem(404, "no such archive")
      const recording = live.get(archiveId)
      if (!recording?.stop()) throw new Problem(409, "the archive is not being recorded")
      return recording.archive
    },

    async close() {
      closing.abort(new Error("the recording cloud closes"))
      await Promise.allSettled([...live.values()].map(({ ended }) => ended))
    },
  }
}

function oneOf(name: string, value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) throw new Problem(400, `${name} must be ${allowed.join(" or ")}`)
  return value
}
