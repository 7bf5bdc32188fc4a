import { findProgram } from "../harness/programs.ts"

/** The Nodes that may run what starts ours: ours itself, and the system's, which may be an older one. */
export const NODES: readonly string[] = [
  process.execPath,
  ...["/usr/bin/node", "/usr/local/bin/node"].filter((path) => findProgram(path)),
]
