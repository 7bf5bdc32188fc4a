import type { OperationName } from "../http/routing.ts"

/**
 * One request. Holds no header, no query string and no body, hence no secret. It is logged as soon as it is routed, and filled
 * in while it is served: a client that has its answer finds it counted, with its status.
 */
export interface Operation {
  /** Milliseconds since the epoch at which the request's head was there. */
  readonly at: number
  /** Absent until the reply has ended. */
  readonly durationMs?: number
  readonly operation: OperationName
  /** Empty where the request named none. */
  readonly bucket: string
  readonly key: string
  readonly uploadId?: string
  readonly partNumber?: number
  /** As the client wrote it. */
  readonly range?: string
  /** 0 if no reply was begun. */
  readonly status: number
  /** The error document's code. */
  readonly code?: string
  /** Of the bodies, as they went over the wire. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** The connection ended before the reply did. */
  readonly broken?: true
  /** The names of the fault's actions, joined by commas. */
  readonly fault?: string
}

/** The last requests, oldest first, and a subscription to those that end. */
export class OperationLog {
  readonly #size: number
  readonly #listeners = new Set<(operation: Operation) => void>()
  #entries: Operation[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** Those still held. */
  entries(): readonly Operation[] {
    return this.#entries.slice(-this.#size)
  }

  /** How many of `name` (`*` for any) are held, that `filter` accepts. */
  count(name: OperationName | "*", filter: (operation: Operation) => boolean = () => true): number {
    return this.entries().filter((entry) => (name === "*" || entry.operation === name) && filter(entry))
      .length
  }

  clear(): void {
    this.#entries = []
  }

  /** Calls `listener` for each request once its reply has ended, until the returned function is called. */
  subscribe(listener: (operation: Operation) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  begin(operation: Operation): void {
    this.#entries.push(operation)
    // Trimmed in large steps: shifting one at a time would cost as much as the log is long, each time.
    if (this.#entries.length >= 2 * this.#size) this.#entries = this.#entries.slice(-this.#size)
  }

  end(operation: Operation): void {
    for (const listener of this.#listeners) listener(operation)
  }
}
