import { backfill } from "./backfill.ts"
import { capacity } from "./capacity.ts"
import type { Chapter } from "./chapter.ts"
import { clients } from "./clients.ts"
import { digests } from "./digests.ts"
import { distance } from "./distance.ts"
import { files } from "./files.ts"
import { ingest } from "./ingest.ts"
import { lanes } from "./lanes.ts"
import { large } from "./large.ts"
import { memory } from "./memory.ts"
import { processes } from "./processes.ts"
import { projects } from "./projects.ts"
import { scrape } from "./scrape.ts"
import { small } from "./small.ts"
import { starting } from "./starting.ts"
import { tls } from "./tls.ts"
import { tracing } from "./tracing.ts"

/** In the order in which they run. docs/performance.md has the same order. */
export const CHAPTERS: readonly Chapter[] = [
  large,
  memory,
  processes,
  small,
  projects,
  ingest,
  lanes,
  backfill,
  capacity,
  distance,
  tls,
  clients,
  digests,
  tracing,
  files,
  starting,
  scrape,
]
