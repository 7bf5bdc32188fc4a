/** One thing that the doctor has checked. */
import { isUnsealError } from "@unseal/archive/errors"
import { clauseOf, NoAnswerError } from "@unseal/archive/first-look"

/** Whose move it is: whoever runs Unseal, runs Redis, owns the store, manages the vendor's account, or sets the machine's clock. */
export type Mover = "operator" | "redis" | "store" | "vendor" | "clock"

/** What to do, as a clause, and who must do it. */
export interface Move {
  readonly whose: Mover
  readonly what: string
}

/** `warning`: it works, and should be mended. `not checked`: `seen` says why. */
export type CheckStatus = "ok" | "warning" | "failed" | "not checked"

export interface Check {
  readonly name: string
  /** Absent if it concerns all projects. */
  readonly projectId?: string
  readonly status: CheckStatus
  /** What was seen, with numbers: a clause without secrets. */
  readonly seen: string
  /** Empty if there is nothing to do. */
  readonly moves: readonly Move[]
}

/** A check before it has its name and project. */
export type Finding = Pick<Check, "status" | "seen" | "moves">

export const ok = (seen: string): Finding => ({ status: "ok", seen, moves: [] })
export const notChecked = (seen: string): Finding => ({ status: "not checked", seen, moves: [] })
export const warning = (seen: string, whose: Mover, what: string): Finding => ({
  ...{ status: "warning", seen },
  moves: [{ whose, what }],
})
export const failed = (seen: string, whose: Mover, what: string): Finding => ({
  ...{ status: "failed", seen },
  moves: [{ whose, what }],
})

/** Why `error` stopped a check. Only the messages of our own errors are shown. */
export function failure(error: unknown, whose: Mover, ifSilent: string): Finding {
  if (isUnsealError(error)) return failed(`${error.code}: ${error.message}`, whose, error.remedy)
  if (error instanceof NoAnswerError) return failed(error.message, whose, ifSilent)
  return failed(clauseOf(error), "operator", "run the same look by hand, with LOG_LEVEL=debug")
}

const RANK: readonly CheckStatus[] = ["failed", "warning", "not checked", "ok"]

/** All `findings` as one: the worst status, everything that was seen, and every move. */
export const together = (findings: readonly Finding[]): Finding => ({
  status: RANK.find((rank) => findings.some(({ status }) => status === rank)) ?? "ok",
  seen: findings.map(({ seen }) => seen).join("; "),
  moves: findings.flatMap(({ moves }) => moves),
})
