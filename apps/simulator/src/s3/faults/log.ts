import type { OperationName } from "../http/routing.ts"

/**
 * One request. It holds no header, query string or body, hence no secret. It is logged as soon as it is routed, and filled in
 * while it is served, so a client that has its answer finds the request counted, with its status.
 */
export interface Operation {
  /** When the request's head arrived, in milliseconds since the epoch. */
  readonly at: number
  /** Absent until the reply has ended. */
  readonly durationMs?: number
  readonly operation: OperationName
  /** Empty if the request names none. */
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
  /** Body bytes as they went over the wire. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** The connection ended before the reply did. */
  readonly broken?: true
  /** The names of the fault's actions, joined by commas. */
  readonly fault?: string
}

/** The latest requests, oldest first, and subscriptions to requests that end. */
export class OperationLog {
  readonly #size: number
  readonly #listeners = new Set<(operation: Operation) => void>()
  #entries: Operation[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** The requests still held. */
  entries(): readonly Operation[] {
    return this.#entries.slice(-this.#size)
  }

  /** How many requests of `name` (`*` for any) the log holds that `filter` accepts. */
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
    // Trimmed in large steps: removing one entry at a time would move the whole log each time.
    if (this.#entries.length >= 2 * this.#size) this.#entries = this.#entries.slice(-this.#size)
  }

  end(operation: Operation): void {
    for (const listener of this.#listeners) listener(operation)
  }
}
