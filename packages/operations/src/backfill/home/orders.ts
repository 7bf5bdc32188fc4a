/**
 * The orders that operators give to a backfill: pause, resume, cancel, and its pace. Its home keeps one object for each order.
 */
import { z } from "zod"
import { BackfillError } from "../backfill-error.ts"
import { addToLog, readLog } from "./numbered-log.ts"
import { type HomeStore, KEYS } from "./objects.ts"

const paceSchema = z.object({
  /** Archives a second, over the whole fleet. */
  archivesPerSecond: z.number().positive().optional(),
  /** Announced bytes a second, over the whole fleet. */
  bytesPerSecond: z.number().positive().optional(),
  /** From the first hour on until before the second one, in `zone`: [22, 6] begins in the evening. */
  hours: z.tuple([z.int().min(0).max(23), z.int().min(0).max(24)]).optional(),
  zone: z.string().optional(),
})
export type Pace = z.infer<typeof paceSchema>

const restoreSchema = z.object({ tier: z.enum(["bulk", "standard"]), most: z.int().positive() })

const orderSchema = z.object({
  /** ISO 8601. */
  at: z.iso.datetime(),
  command: z.enum(["start", "pause", "resume", "cancel", "set"]),
  /** Replaces the earlier pace. */
  pace: paceSchema.optional(),
  restore: restoreSchema.optional(),
})
export type Order = z.infer<typeof orderSchema>

/** The result of all orders so far. */
export interface Standing {
  readonly isPaused: boolean
  readonly isCancelled: boolean
  readonly pace: Pace
  readonly restore: z.infer<typeof restoreSchema> | null
  /** The number of these orders. */
  readonly orders: number
}

export const NO_ORDERS: Standing = { isPaused: false, isCancelled: false, pace: {}, restore: null, orders: 0 }

/** `standing`, with the orders that were added since. Throws `ERR_BACKFILL_CHANGED`. */
export async function readOrders(
  store: HomeStore,
  id: string,
  standing: Standing,
  signal: AbortSignal,
): Promise<Standing> {
  const entries = await readLog(store, (number) => KEYS.order(id, number), standing.orders + 1, signal)
  return entries.reduce<Standing>((before, entry) => {
    const { data, success } = orderSchema.safeParse(entry)
    if (!success)
      throw new BackfillError(
        "ERR_BACKFILL_CHANGED",
        `${store.location}/${KEYS.order(id, before.orders + 1)} is not an order: it was replaced`,
      )
    return {
      isPaused: data.command === "pause" || (before.isPaused && data.command !== "resume"),
      isCancelled: before.isCancelled || data.command === "cancel",
      pace: data.pace ?? before.pace,
      restore: data.restore ?? before.restore,
      orders: before.orders + 1,
    }
  }, standing)
}

/** Adds an order to `standing`. Resolves to its number. */
export const addOrder = (
  store: HomeStore,
  id: string,
  standing: Pick<Standing, "orders">,
  order: Omit<Order, "at">,
  signal: AbortSignal,
): Promise<number> =>
  addToLog(
    store,
    (number) => KEYS.order(id, number),
    standing.orders,
    { at: new Date().toISOString(), ...order },
    signal,
  )
