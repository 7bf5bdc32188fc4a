/** The rows of the fault matrix that one Linux machine can inject, in the order of the table. */
import type { Row } from "../row.ts"
import { namesAway, peerVanished, silentStore } from "./away.ts"
import { block } from "./block.ts"
import { duplicates, forged, ingestRestart, late } from "./callbacks.ts"
import { clockWrong } from "./clock.ts"
import { credentialsGone, credentialsRefused, permissionsGone } from "./credentials.ts"
import { diskFull } from "./disk-full.ts"
import { clusterFailover, sentinelFailover } from "./failover.ts"
import { keyRotation } from "./keys.ts"
import { keysAway } from "./keys-away.ts"
import { kill } from "./kill.ts"
import { large } from "./large.ts"
import { lockLost, twoContents } from "./overtaken.ts"
import { quarantine } from "./quarantine.ts"
import { redisAway } from "./redis-away.ts"
import { redisCrash } from "./redis-crash.ts"
import { redisEverysec, redisFlushed, redisTorn } from "./redis-forgets.ts"
import { rollingRestart, sigterm } from "./signals.ts"
import { sigstop } from "./sigstop.ts"
import { steps } from "./steps.ts"
import { ambiguous, emptyBody, midway, shortBody, storeFaults, swapped } from "./store.ts"
import { unreadable } from "./unreadable.ts"

export const ROWS: readonly Row[] = [
  ...[kill, steps, sigterm, sigstop, block, lockLost, twoContents, quarantine],
  ...[redisCrash, redisEverysec, redisTorn, redisFlushed, redisAway],
  ...[sentinelFailover, clusterFailover],
  ...[storeFaults, shortBody, emptyBody, midway, swapped, ambiguous],
  ...[duplicates, forged, late, unreadable, large, keyRotation, ingestRestart, rollingRestart],
  ...[credentialsGone, credentialsRefused, permissionsGone, keysAway, diskFull],
  ...[silentStore, peerVanished, namesAway, clockWrong],
]

/** Throws an `Error` that lists the names if there is no such row. */
export function findRow(name: string): Row {
  const row = ROWS.find((row) => row.name === name)
  if (!row) throw new Error(`there is no row ${name}: ${ROWS.map(({ name }) => name).join(", ")}`)
  return row
}
