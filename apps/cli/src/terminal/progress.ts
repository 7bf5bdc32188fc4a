/** A command's progress on a terminal: one line that is redrawn in place. Nothing if stderr is not a terminal. */
export interface Progress {
  update(done: number, total: number): void
  /** Shows the bytes so far of something of unknown size. */
  count(done: number, what: string): void
  /** Clears the line. */
  end(): void
}

const INTERVAL_MS = 100

export function createProgress(label: string, output: NodeJS.WriteStream = process.stderr): Progress {
  if (!output.isTTY) return { update() {}, count() {}, end() {} }
  const startedAt = performance.now()
  /** Not drawn yet. */
  let drawnAt = -Infinity
  return {
    update(done, total) {
      const now = performance.now()
      if (now - drawnAt < INTERVAL_MS && done < total) return
      drawnAt = now
      output.write(
        `\r\x1b[K${progressLine(label, done, total, (now - startedAt) / 1000, output.columns || 80)}`,
      )
    },
    count(done, what) {
      const now = performance.now()
      if (now - drawnAt < INTERVAL_MS) return
      drawnAt = now
      output.write(`\r\x1b[K${what} ${bytes(done)}`)
    },
    end() {
      if (drawnAt > -Infinity) output.write("\r\x1b[K")
      drawnAt = -Infinity
    },
  }
}

/** `label  42 % ▕████      ▏ 420 MB of 1.0 GB  310 MB/s  2 s left`, cut to `columns`. */
export function progressLine(
  label: string,
  done: number,
  total: number,
  seconds: number,
  columns = 80,
): string {
  const share = total === 0 ? 1 : done / total
  const speed = seconds > 0 ? done / seconds : 0
  const bar = "█".repeat(Math.round(share * 20)).padEnd(20)
  const left = speed > 0 ? `  ${Math.ceil((total - done) / speed)} s left` : ""
  const line = `${label} ${String(Math.floor(share * 100)).padStart(3)} % ▕${bar}▏ ${bytes(done)} of ${bytes(total)}  ${bytes(speed)}/s${left}`
  return line.slice(0, Math.max(columns - 1, 20))
}

/** A size for people, in powers of ten as stores bill them: `1.0 GB`. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`
}
