/** Unicode code point order, which is the byte order of UTF-8 and S3's listing order. UTF-16 order differs from U+E000 on. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return codePointRank(x) - codePointRank(y)
  }
  return a.length - b.length
}

// Surrogates encode code points above every single code unit.
const codePointRank = (unit: number): number => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)

/** A bucket's keys in listing order. */
export class KeyIndex {
  readonly #keys: string[] = []

  get size(): number {
    return this.#keys.length
  }

  at(index: number): string | undefined {
    return this.#keys[index]
  }

  /** The index of the first key that is not before `key`. */
  indexOf(key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareKeys(this.#keys[middle]!, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The index of the first key after all keys that begin with `prefix`. */
  indexAfterPrefix(prefix: string): number {
    let low = this.indexOf(prefix)
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#keys[middle]!.startsWith(prefix)) low = middle + 1
      else high = middle
    }
    return low
  }

  add(key: string): void {
    this.#keys.splice(this.indexOf(key), 0, key)
  }

  delete(key: string): void {
    const index = this.indexOf(key)
    if (this.#keys[index] === key) this.#keys.splice(index, 1)
  }
}
