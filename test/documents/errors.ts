/** `docs/errors.md`: every code that an archive can fail with, and what each reader does about it. */
import { ERROR_CODES, type ErrorCode, UnsealError } from "@unseal/archive/errors"
import { FAILURES, type FailureCode, WAITING_CODES } from "@unseal/queue/run/ending"
import { exitCodeOf } from "../../apps/cli/src/terminal/exit.ts"
import { remedyAtTerminal } from "../../apps/cli/src/terminal/remedies.ts"
import { code, generated, table } from "./markdown.ts"

const isOfTable = (name: FailureCode): name is ErrorCode => Object.hasOwn(ERROR_CODES, name)

/** What happens to an archive in the queue. */
function inTheQueue(name: FailureCode): string {
  if (isOfTable(name) && ERROR_CODES[name].owner === "deployment") return "held"
  if ((WAITING_CODES as readonly string[]).includes(name)) return "waits"
  return FAILURES[name].kind === "permanent" ? "dead letter" : "tried again"
}

export function errorsDocument(): string {
  const rows = (Object.keys(FAILURES) as FailureCode[]).map((name) => [
    `<a id="${name}"></a>${code(name)}`,
    FAILURES[name].kind,
    FAILURES[name].owner,
    inTheQueue(name),
    FAILURES[name].meaning,
    FAILURES[name].remedy,
    isOfTable(name) ? String(exitCodeOf(name)) : "–",
    isOfTable(name) ? remedyAtTerminal(new UnsealError(name, "")) : "–",
  ])
  return generated(
    "Error codes",
    "The same code is the metric's label, the log's field, the dead letter's reason and the start of the command line's message. The message beside it names the thing and the numbers.",
    [
      "What happens to the archive in the queue:",
      "",
      "- **dead letter**: it becomes one at once. It stays until you redrive it (`unseal queue redrive`) or discard it (`unseal queue discard`).",
      "- **tried again**: up to `UNSEAL_ATTEMPTS` times in all, with growing pauses. Then it is a dead letter.",
      "- **waits**: it waits for its object and uses no attempt. The wait lasts a day from the first miss, or 72 hours if the object is in an archival storage class. Then it is a dead letter.",
      "- **held**: the trouble is the deployment's and hits all archives of a project, so it uses no attempt. That side of the project (source, destination, keys, vendor) is suspended. One archive probes after a second, later every 20 seconds. When a probe succeeds, all archives go on in their old order. An archive that is held for `UNSEAL_SUSPEND_MAX_MS` in all becomes a dead letter. An archive that fails three times while others of its project succeed is judged by the kind of its code: a permanent failure makes it a dead letter, and a transient one is tried again and uses attempts.",
    ].join("\n"),
    "At a terminal, nothing tries again by itself. The command says what to do there and ends with an exit code: 1 failed for good, 2 usage or configuration, 3 may be tried again. An archive without a password, or of 0 bytes, is an outcome, not an error.",
    table(["code", "kind", "owner", "in the queue", "meaning", "remedy", "exit code", "at a terminal"], rows),
  )
}
