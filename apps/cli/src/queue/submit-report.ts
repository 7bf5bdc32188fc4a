/** What `unseal submit` prints about many lines. */
import { once } from "node:events"
import { counted } from "@unseal/archive/counted"
import type { SettledLine } from "@unseal/operations/submission/submit-lines"

/** Lines by outcome, and the last line. */
export class Tally {
  readonly counts = { lines: 0, enqueued: 0, duplicate: 0, done: 0, ignored: 0, refused: 0 }
  readonly ignored: Record<string, number> = {}
  /** Duplicates that are dead letters. */
  dead = 0
  last: { readonly file: string; readonly line: number } | undefined

  add({ line, settled }: SettledLine): void {
    this.counts.lines++
    this.counts[settled.outcome]++
    if (settled.outcome === "ignored") this.ignored[settled.reason] = (this.ignored[settled.reason] ?? 0) + 1
    if (settled.outcome === "duplicate" && settled.of === "dead") this.dead++
    this.last = { file: line.file ?? "", line: line.line }
  }
}

/** A text about one line, without its values. */
export function lineText({ line, settled }: SettledLine, dryRun: boolean): string {
  return `${line.file}, line ${line.line}: ${outcomeText(settled, dryRun)}`
}

function outcomeText(settled: SettledLine["settled"], dryRun: boolean): string {
  switch (settled.outcome) {
    case "enqueued":
      return `${dryRun ? "would be enqueued as" : "enqueued as"} ${settled.jobId}`
    case "duplicate":
      return settled.of === "dead"
        ? `duplicate of a dead letter; give it a new life with unseal queue redrive --id ${settled.jobId}`
        : `duplicate of ${settled.of === "line" ? "an earlier line" : "a job in the queue"}, ${settled.jobId}`
    case "done":
      return `done already, ${settled.jobId}`
    case "ignored":
    case "refused":
      return `${settled.outcome}: ${settled.reason}`
  }
}

export function lineJson({ line, settled }: SettledLine): string {
  const archive = "payload" in line ? line.payload : line
  const { archiveId, projectId } = archive as { archiveId?: string; projectId?: string }
  return JSON.stringify({ file: line.file, line: line.line, projectId, archiveId, ...settled })
}

/** The counts as lines for people. */
export function tallyText({ counts, ignored, dead }: Tally, lane: string, dryRun: boolean): string {
  const why = Object.entries(ignored).map(([reason, count]) => `${count} ${reason}`)
  const rows: [string, number, string][] = [
    [dryRun ? "to enqueue" : "enqueued", counts.enqueued, `into the ${lane} lane`],
    [
      "duplicate",
      counts.duplicate,
      dead === 0
        ? "in the queue already"
        : `in the queue already, ${counted(dead, "dead letter")} among them`,
    ],
    ["done", counts.done, "decrypted already"],
    ["ignored", counts.ignored, why.join(", ")],
    ["refused", counts.refused, ""],
  ]
  return rows
    .map(([name, count, note]) => `${name.padEnd(12)} ${count}${count > 0 && note ? `  ${note}` : ""}\n`)
    .join("")
}

/** Writes data to stdout. Waits while its reader is slow, until the signal. */
export async function print(text: string, signal: AbortSignal): Promise<void> {
  if (process.stdout.write(text) || signal.aborted) return
  await once(process.stdout, "drain", { signal }).catch((error) => {
    if (!signal.aborted) throw error
  })
}

const TERMINAL_MS = 200
const PLAIN_MS = 10_000

/** Reports progress on stderr: in place on a terminal, elsewhere as a line every ten seconds. */
export function createLineProgress(totalBytes: number | null, output: NodeJS.WriteStream = process.stderr) {
  const startedAt = performance.now()
  let saidAt = startedAt
  return {
    update(lines: number, bytesRead: number): void {
      const now = performance.now()
      if (now - saidAt < (output.isTTY ? TERMINAL_MS : PLAIN_MS)) return
      saidAt = now
      const text = lineProgress(lines, bytesRead, totalBytes, (now - startedAt) / 1_000)
      output.write(
        output.isTTY ? `\r\x1b[K${text.slice(0, Math.max(20, (output.columns || 80) - 1))}` : `${text}\n`,
      )
    },
    /** Makes room for other text. */
    clear(): void {
      if (output.isTTY) output.write("\r\x1b[K")
    },
  }
}

/** `420000 lines  42 %  5300/s  2 min left`. */
export function lineProgress(
  lines: number,
  bytesRead: number,
  totalBytes: number | null,
  seconds: number,
): string {
  const parts = [counted(lines, "line")]
  const share = totalBytes === null || totalBytes === 0 ? null : Math.min(1, bytesRead / totalBytes)
  if (share !== null) parts.push(`${Math.floor(share * 100)} %`)
  parts.push(`${Math.round(lines / seconds)}/s`)
  if (share !== null && share > 0) parts.push(`${timeText((seconds * (1 - share)) / share)} left`)
  return parts.join("  ")
}

function timeText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`
}
