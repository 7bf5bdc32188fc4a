import { rename, rm, writeFile } from "node:fs/promises"
import { inWorld, type Row } from "../row.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"

/** The key directory is missing, and later replaced by a file, which not even root can read as a directory. */
export const keysAway: Row = {
  name: "keys-away",
  fault: "a project's key directory can't be read for two minutes: it is gone, then replaced by a file",
  demand: DEMAND,
  run: (options) =>
    inWorld(options, { second: async () => ({}) }, (world) => {
      const directory = world.secondKeysDirectory
      return throughTrouble(world, options, {
        what: "the keys' directory is gone",
        // A look at the directory is valid for ten seconds.
        feltAfterMs: 11_000,
        begin: () => rename(directory, `${directory}.away`),
        halfway: () => writeFile(directory, "no directory"),
        async end() {
          await rm(directory, { force: true })
          await rename(`${directory}.away`, directory)
        },
      })
    }),
}
