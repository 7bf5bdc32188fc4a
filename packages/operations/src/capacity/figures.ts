/**
 * What an archive costs, as measured. Every estimate is made from these figures. The bench's chapter `capacity` counts, and the
 * tests count again. The other chapters measure time, and a test compares these figures with their tables in docs/performance.md.
 */

export interface Figure {
  readonly value: number
  readonly unit: string
  /** What it is, for docs/capacity.md. */
  readonly what: string
  /** The chapter of `npm run bench` that prints it. */
  readonly chapter: "capacity" | "digests" | "tls" | "small" | "ingest"
}

const of = (value: number, unit: string, chapter: Figure["chapter"], what: string): Figure => ({
  ...{ value, unit, chapter, what },
})

export const FIGURES = {
  waitingBytes: of(2_000, "bytes", "capacity", "Redis' memory for an archive that waits"),
  keptBytes: of(2_400, "bytes", "capacity", "Redis' memory for an archive in the hour after its commit"),
  commands: of(66, "commands", "capacity", "Redis' commands for an archive, those inside scripts included"),
  commandsPerPart: of(5.7, "commands", "capacity", "the same, for each part of an archive of several"),
  aofBytes: of(5_200, "bytes", "capacity", "append-only file for an archive, until Redis rewrites it"),
  aofBytesPerPart: of(415, "bytes", "capacity", "the same, for each part of an archive of several"),
  redisCpuMs: of(0.9, "ms", "capacity", "Redis' processor time for an archive"),
  requestsOfOnePart: of(
    2,
    "requests",
    "capacity",
    "reads (GET, HEAD) for an archive of one part, and as many writes (PUT)",
  ),
  requestsBesideParts: of(
    3,
    "requests",
    "capacity",
    "reads for an archive of several parts, beside one for each part, and as many writes (PUT, POST)",
  ),
  workerCpuMs: of(1.3, "ms", "small", "a worker's processor time for an archive, beside that for its bytes"),
  workerCpuSecondsPerGib: of(1.38, "s", "digests", "a worker's processor time for a GiB, with SHA-256"),
  tlsCpuSecondsPerGib: of(0.72, "s", "tls", "what TLS adds to a GiB, both directions together"),
  ingestCpuMs: of(0.101, "ms", "ingest", "ingest's processor time for a signed callback"),
  ingestPerSecond: of(9_063, "callbacks/s", "ingest", "signed callbacks that one ingest takes"),
} as const satisfies Record<string, Figure>
