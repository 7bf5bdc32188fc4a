/** What is released at the end of a scope. Node has `DisposableStack` for this only from 24 on, and the built packages run on 22. */

/** Releases what was deferred, the last first, when its scope ends (`using`). A release that fails does not stop the others. */
export class Held implements Disposable {
  readonly #releases: (() => void)[] = []

  defer(release: () => void): void {
    this.#releases.push(release)
  }

  [Symbol.dispose](): void {
    const failures: unknown[] = []
    for (const release of this.#releases.splice(0).reverse())
      try {
        release()
      } catch (error) {
        failures.push(error)
      }
    if (failures.length > 0) throw failures[0]
  }
}

/** As `Held`, for releases that take time. Each is waited for before the next. */
export class AsyncHeld implements AsyncDisposable {
  readonly #releases: (() => void | Promise<void>)[] = []

  defer(release: () => void | Promise<void>): void {
    this.#releases.push(release)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (const release of this.#releases.splice(0).reverse())
      try {
        await release()
      } catch (error) {
        failures.push(error)
      }
    if (failures.length > 0) throw failures[0]
  }
}
