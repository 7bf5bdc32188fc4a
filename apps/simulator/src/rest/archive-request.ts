/** The request that starts an archive, as strict as the vendor is ("Starting an archive", OpenTok REST API reference). */
import { z } from "zod"
import { type ArchiveSettings, USUAL_SETTINGS } from "../callbacks/body.ts"
import { Problem } from "./problem.ts"

const RESOLUTIONS = ["640x480", "480x640", "1280x720", "720x1280", "1920x1080", "1080x1920"] as const
const LAYOUTS = ["bestFit", "custom", "horizontalPresentation", "pip", "verticalPresentation"] as const

const LAYOUT = z
  .object({
    type: z.enum(LAYOUTS),
    stylesheet: z.string().min(1).optional(),
    screenshareType: z.enum(["bestFit", "horizontalPresentation", "pip", "verticalPresentation"]).optional(),
  })
  .refine(({ type, stylesheet }) => (type === "custom") === (stylesheet !== undefined), {
    path: ["stylesheet"],
    error: "is for the layout custom, which needs it",
  })
  .refine(({ type, screenshareType }) => screenshareType === undefined || type === "bestFit", {
    path: ["screenshareType"],
    error: "is for the layout bestFit",
  })

const REQUEST = z
  .object({
    sessionId: z.string().min(1),
    name: z.string().max(1_000).nullish(),
    hasAudio: z.boolean().default(USUAL_SETTINGS.hasAudio),
    hasVideo: z.boolean().default(USUAL_SETTINGS.hasVideo),
    // Only composed archives can be encrypted, and the simulator records nothing else.
    outputMode: z
      .literal("composed", { error: "must be composed: individual streams can't be encrypted" })
      .optional(),
    layout: LAYOUT.optional(),
    resolution: z.enum(RESOLUTIONS).default("640x480"),
    streamMode: z.enum(["auto", "manual"]).default("auto"),
    multiArchiveTag: z.string().min(1).max(1_000).optional(),
    maxBitrate: z.int().min(100_000).max(6_000_000).optional(),
    quantizationParameter: z.int().min(15).max(40).optional(),
    hasTranscription: z
      .literal(false, { error: "needs individual streams, which can't be encrypted" })
      .optional(),
  })
  .refine(({ hasAudio, hasVideo }) => hasAudio || hasVideo, {
    path: ["hasVideo"],
    error: "must be true if hasAudio is false",
  })
  .refine(({ maxBitrate, quantizationParameter }) => !maxBitrate || !quantizationParameter, {
    path: ["maxBitrate"],
    error: "excludes quantizationParameter",
  })

/** Parses a customer's request. Throws a 400 `Problem` that names what the vendor would refuse; it quotes no value. */
export function parseArchiveRequest(body: string): {
  readonly sessionId: string
  readonly name: string
  readonly settings: ArchiveSettings
} {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    throw new Problem(400, "invalid JSON")
  }
  const { data, error } = REQUEST.safeParse(json)
  if (data === undefined) {
    const [{ path, message }] = error.issues as [z.core.$ZodIssue]
    throw new Problem(400, `${path.join(".") || "the body"}: ${message}`)
  }
  const { sessionId, name, hasAudio, hasVideo, resolution, streamMode, multiArchiveTag } = data
  return {
    sessionId,
    name: name ?? "",
    settings: { hasAudio, hasVideo, resolution, streamMode, ...(multiArchiveTag && { multiArchiveTag }) },
  }
}
