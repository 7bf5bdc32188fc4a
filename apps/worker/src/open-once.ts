/** What is opened when it is first needed, shared while it is held, and closed when nobody wants it any more. */
export interface OpenOnce<T> {
  /** Opens what `name` stands for, unless it is open; after a failure, anew. To be released once, whatever became of it. */
  hold(name: string): { readonly opened: Promise<T>; release(): void }
  /** Closes all, held or not. */
  close(): Promise<void>
}

interface Entry<T> {
  readonly opened: Promise<T>
  holders: number
}

export function openOnce<T>(options: {
  open(name: string): Promise<T>
  close(one: T): Promise<void>
  /** The names that will be needed again. */
  wanted(): readonly string[]
}): OpenOnce<T> {
  const entries = new Map<string, Entry<T>>()

  async function end(opened: Promise<T>): Promise<void> {
    // What could not be opened need not be closed.
    const one = await opened.catch(() => null)
    if (one !== null) await options.close(one)
  }

  function closeUnwanted(): void {
    const wanted = new Set(options.wanted())
    for (const [name, entry] of entries)
      if (entry.holders === 0 && !wanted.has(name)) {
        entries.delete(name)
        void end(entry.opened)
      }
  }

  return {
    hold(name) {
      let entry = entries.get(name)
      if (!entry) {
        const opening: Entry<T> = { opened: options.open(name), holders: 0 }
        entries.set(name, opening)
        opening.opened.catch(() => entries.get(name) === opening && entries.delete(name))
        entry = opening
      }
      entry.holders++
      const held = entry
      let released = false
      return {
        opened: entry.opened,
        release() {
          if (released) return
          released = true
          held.holders--
          closeUnwanted()
        },
      }
    },
    async close() {
      const all = [...entries.values()]
      entries.clear()
      await Promise.all(all.map(({ opened }) => end(opened)))
    },
  }
}
