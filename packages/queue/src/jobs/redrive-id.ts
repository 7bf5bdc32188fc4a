/** The id of the job that redriving `jobId` makes: `…` → `…_r2` → `…_r3`. */
export function redriveIdOf(jobId: string): string {
  const [, first = jobId, count = "1"] = jobId.match(/^(.*)_r(\d+)$/) ?? []
  return `${first}_r${Number(count) + 1}`
}

/** The id that the job had before any redrive. */
export const firstIdOf = (jobId: string): string => jobId.replace(/_r\d+$/, "")
