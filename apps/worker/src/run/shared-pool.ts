/** A shared pool: opens things when they are first needed, and closes them when nobody wants them any more. */
export interface OpenOnce<T> {
  /** Opens what `name` stands for, unless it is open or failed to open. To be released once, even after a failure. */
  hold(name: string): { readonly opened: Promise<T>; release(): void }
  /** Everything that is open now, held or not, by name. */
  open(): [name: string, one: T][]
  /** Closes everything, held or not. What is being opened, or is opened later, is closed as soon as it is open and released. */
  close(): Promise<void>
}

interface Entry<T> {
  readonly opened: Promise<T>
  holders: number
  /** Set once it is open. */
  one?: T
}

const NONE: ReadonlySet<string> = new Set()

export function createSharedPool<T>(options: {
  open(name: string): Promise<T>
  close(one: T, name: string): Promise<void>
  /** The names that will be needed again. A change makes another set. */
  wanted(): ReadonlySet<string>
}): OpenOnce<T> {
  const entries = new Map<string, Entry<T>>()
  let wanted: ReadonlySet<string> = new Set()
  let isClosed = false

  async function end(name: string, opened: Promise<T>): Promise<void> {
    // What could not be opened need not be closed.
    const one = await opened.catch(() => null)
    if (one !== null) await options.close(one, name)
  }

  function closeUnwanted(names: Iterable<string>): void {
    for (const name of names) {
      const entry = entries.get(name)
      if (entry?.holders !== 0 || wanted.has(name)) continue
      entries.delete(name)
      void end(name, entry.opened)
    }
  }

  /** An archive looks only at what it held, because its cost must not grow with the number of names. */
  function released(name: string): void {
    const before = wanted
    wanted = isClosed ? NONE : options.wanted()
    closeUnwanted(wanted === before ? [name] : [...entries.keys()])
  }

  return {
    hold(name) {
      let entry = entries.get(name)
      if (!entry) {
        const opening: Entry<T> = { opened: options.open(name), holders: 0 }
        entries.set(name, opening)
        opening.opened.then(
          (one) => {
            opening.one = one
          },
          () => entries.get(name) === opening && entries.delete(name),
        )
        entry = opening
      }
      entry.holders++
      const held = entry
      let isReleased = false
      return {
        opened: entry.opened,
        release() {
          if (isReleased) return
          isReleased = true
          held.holders--
          released(name)
        },
      }
    },
    open: () =>
      [...entries].flatMap(([name, { one }]) =>
        one === undefined ? [] : [[name, one] satisfies [string, T]],
      ),
    async close() {
      isClosed = true
      const all = [...entries]
      entries.clear()
      // Whatever hangs while it opens is closed once it has opened. Nobody waits for that.
      const ends = all.map(([name, { opened, one }]) => ({
        ended: end(name, opened),
        isOpen: one !== undefined,
      }))
      await Promise.all(ends.filter(({ isOpen }) => isOpen).map(({ ended }) => ended))
    },
  }
}
