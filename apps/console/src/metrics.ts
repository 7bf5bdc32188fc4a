import { createCounter, type Registry } from "@unseal/service/metrics"
import type { SignIn } from "./access/sign-in.ts"
import type { Action } from "./action.ts"

export interface ConsoleMetrics {
  request(status: number): void
  signIn(outcome: SignIn["kind"]): void
  action(kind: Action["kind"], outcome: Action["state"]): void
}

const CLASSES = ["2xx", "3xx", "4xx", "5xx"] as const
const SIGN_INS = ["signed-in", "wrong", "later", "busy"] as const

export function createConsoleMetrics(registry: Registry): ConsoleMetrics {
  const requests = createCounter(registry, {
    name: "unseal_console_requests_total",
    help: "Requests for the console's pages, by the class of the response's status",
    labels: { status: CLASSES },
  })
  const signIns = createCounter(registry, {
    name: "unseal_console_sign_ins_total",
    help: "Attempts to sign in to the console; later counts attempts that were refused unchecked after too many failures",
    labels: { outcome: SIGN_INS },
  })
  const actions = createCounter(registry, {
    name: "unseal_console_actions_total",
    help: "Actions of operators that ended; stopped counts those that a shutdown cut short",
    labels: { action: ["redrive", "resume"], outcome: ["done", "failed", "stopped"] },
  })
  return {
    request: (status) => requests.increase({ status: CLASSES[Math.floor(status / 100) - 2] ?? "5xx" }),
    signIn: (outcome) => signIns.increase({ outcome }),
    action(action, outcome) {
      if (outcome !== "running") actions.increase({ action, outcome })
    },
  }
}
