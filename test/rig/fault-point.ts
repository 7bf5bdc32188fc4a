/** A step of the commit protocol at which a test makes the process die, stand still or be slow. */
import { once } from "node:events"
import { ConfigurationError } from "@unseal/service/settings/settings"

/** The steps of the commit protocol, in order. `after-write`: a part is in the store, but not yet in the checkpoint. */
export const STEPS = [
  ...(["after-pin", "after-unwrap", "before-create", "after-create", "after-begin"] as const),
  ...(["after-write", "after-part", "after-seal", "before-fence", "after-fence"] as const),
  ...(["after-complete", "after-record", "after-clear"] as const),
] as const

export type Step = (typeof STEPS)[number]

type Action =
  /** Sends itself SIGKILL or SIGSTOP: nothing runs after this, or not until a SIGCONT. */
  | { readonly kind: "kill" | "stop" }
  /** Holds only this run until a SIGUSR2. */
  | { readonly kind: "hold" }
  /** Keeps the event loop from turning. */
  | { readonly kind: "block"; readonly ms: number }

export interface FaultPoint {
  readonly step: Step
  /** Which passage of the step in this process triggers it, counted from 1. */
  readonly passage: number
  readonly action: Action
}

const FORM = /^([a-z-]+)(?::([1-9]\d{0,5}))?(?::(?:(kill|stop|hold)|block=(\d{1,6})))?$/

/** Parses `STEP`, `STEP:PASSAGE` or `STEP:PASSAGE:ACTION`, e.g. `after-part:3:block=5000`. The default action is `kill`. */
export function parseFaultPoint(text: string): FaultPoint {
  const [, name, passage = "1", kind = "kill", blockMs] = FORM.exec(text) ?? []
  const step = STEPS.find((step) => step === name)
  if (step === undefined)
    throw new ConfigurationError([
      `RIG_FAULT_POINT must be a step, its passage and kill, stop, hold or block=MS, as in after-part:3:kill, with a step of ${STEPS.join(", ")}`,
    ])
  const action: Action =
    blockMs === undefined
      ? { kind: kind as "kill" | "stop" | "hold" }
      : { kind: "block", ms: Number(blockMs) }
  return { step, passage: Number(passage), action }
}

/** Counts passages, and acts at the one that `point` names. */
export function createPassages(point: FaultPoint | undefined): (step: Step) => Promise<void> {
  let passages = 0
  return async (step) => {
    if (step !== point?.step || ++passages !== point.passage) return
    await act(point.action)
  }
}

async function act(action: Action): Promise<void> {
  switch (action.kind) {
    case "kill":
      process.kill(process.pid, "SIGKILL")
      return
    case "stop":
      process.kill(process.pid, "SIGSTOP")
      return
    case "block":
      // Blocks without using a core, which the test's other processes need.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms)
      return
    case "hold":
      await once(process, "SIGUSR2")
  }
}
