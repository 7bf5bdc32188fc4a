/** Which row discovers a missing protection, and by which invariant. */

import type { Protection } from "../rig/settings.ts"
import type { Violation } from "./check.ts"
import type { Row } from "./row.ts"
import { block } from "./rows/block.ts"
import { forged } from "./rows/callbacks.ts"
import { lockLost, twoContents } from "./rows/overtaken.ts"
import { sigterm } from "./rows/signals.ts"
import { emptyBody, midway, swapped } from "./rows/store.ts"

export interface Guard {
  readonly row: Row
  readonly invariant: Violation["invariant"]
}

export const GUARDS: Readonly<Record<Protection, Guard>> = {
  // One output with bytes of two versions.
  "etag-pin": { row: swapped, invariant: "I2" },
  // Bytes that the store never sent.
  "read-length": { row: emptyBody, invariant: "I2" },
  // A second plaintext written over the first.
  "conditional-complete": { row: twoContents, invariant: "I3" },
  // A piece of the archive, visible to everybody.
  "commit-after-check": { row: midway, invariant: "I2" },
  // A run that was overtaken goes on to its commit.
  fence: { row: lockLost, invariant: "row" },
  // More starts than a block explains.
  "lock-renewal": { row: block, invariant: "row" },
  // Stalled jobs after a shutdown.
  "hand-back": { row: sigterm, invariant: "row" },
  // The vendor's own callback counts as a duplicate of somebody else's.
  "password-in-job-id": { row: forged, invariant: "I1" },
}
