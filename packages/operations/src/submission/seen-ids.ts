import { hash } from "node:crypto"

/**
 * The ids that were seen, in 16 to 32 bytes each; a set of strings takes 150. Among ten million ids, the probability that two are
 * mistaken for one is about one in a hundred.
 */
export class SeenIds {
  #slots = new Float64Array(1024)
  #count = 0

  /** Adds `id`. False if it was there already. */
  add(id: string): boolean {
    if (!this.#put(numberOf(id))) return false
    this.#count++
    if (this.#count * 2 > this.#slots.length) this.#grow()
    return true
  }

  /** Open addressing with linear probing. An empty slot holds 0. */
  #put(number: number): boolean {
    const { length } = this.#slots
    for (let at = number % length; ; at = (at + 1) % length) {
      if (this.#slots[at] === number) return false
      if (this.#slots[at] !== 0) continue
      this.#slots[at] = number
      return true
    }
  }

  #grow(): void {
    const numbers = this.#slots
    this.#slots = new Float64Array(numbers.length * 2)
    for (const number of numbers) if (number !== 0) this.#put(number)
  }
}

/** 53 bits, and never 0. */
const numberOf = (id: string): number => Number.parseInt(hash("sha256", id).slice(0, 13), 16) + 1
