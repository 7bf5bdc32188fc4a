/** `live`: callbacks, as they arrive · `bulk`: archives of earlier years, which get the capacity that live ones leave. */
export const LANES = ["live", "bulk"] as const
export type Lane = (typeof LANES)[number]

/** The lane of a job. A job without a lane is live: those that version 0.1.0 enqueued, and all callbacks. */
export const laneOf = (payload: { readonly lane?: unknown }): Lane =>
  payload.lane === "bulk" ? "bulk" : "live"

/** BullMQ's scores of the jobs of a lane that wait for their turn (lanes/lines.ts). */
export const LANE_SCORES = {
  live: { min: "-inf", max: "(4503599627370496" },
  bulk: { min: "4503599627370496", max: "+inf" },
} as const satisfies Record<Lane, { readonly min: string; readonly max: string }>

/** `payload` in `lane`. */
export function inLane<Payload extends { readonly lane?: unknown }>(
  payload: Payload,
  lane: Lane,
): Omit<Payload, "lane"> & { readonly lane?: "bulk" } {
  const { lane: _, ...rest } = payload
  return lane === "bulk" ? { ...rest, lane } : rest
}
