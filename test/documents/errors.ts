/** `docs/errors.md`: every code that an archive can fail with, and what each reader does about it. */
import { ERROR_CODES, type ErrorCode, UnsealError } from "@unseal/archive/errors"
import { FAILURES, type FailureCode, WAITING_CODES } from "@unseal/queue/ending"
import { exitCodeOf } from "../../apps/cli/src/terminal/exit.ts"
import { remedyAtTerminal } from "../../apps/cli/src/terminal/remedies.ts"
import { code, generated, table } from "./markdown.ts"

const isOfTable = (name: FailureCode): name is ErrorCode => Object.hasOwn(ERROR_CODES, name)

/** What becomes of an archive in the pipeline. */
function inTheQueue(name: FailureCode): string {
  if (isOfTable(name) && ERROR_CODES[name].owner === "deployment") return "held"
  if ((WAITING_CODES as readonly string[]).includes(name)) return "waits"
  return FAILURES[name].kind === "permanent" ? "dead letter" : "tried again"
}

export function errorsDocument(): string {
  const rows = (Object.keys(FAILURES) as FailureCode[]).map((name) => [
    `<a id="${name}"></a>${code(name)}`,
    FAILURES[name].kind,
    isOfTable(name) ? ERROR_CODES[name].owner : "archive",
    inTheQueue(name),
    FAILURES[name].meaning,
    FAILURES[name].remedy,
    isOfTable(name) ? String(exitCodeOf(name)) : "–",
    isOfTable(name) ? remedyAtTerminal(new UnsealError(name, "")) : "–",
  ])
  return generated(
    "Error codes",
    "The code is the metric's label, the log's field, the dead letter's reason and the command line's message. The message beside it names the thing and the numbers.",
    [
      "What becomes of the archive:",
      "",
      "- **dead letter**: at once. It stays until it is redriven (`unseal queue redrive`) or discarded.",
      "- **tried again**: with a growing pause, `UNSEAL_ATTEMPTS` times in all. Then it is a dead letter.",
      "- **waits**: for the object, without using an attempt: a day from the first miss, 72 hours for one that is archived. Then it is a dead letter.",
      "- **held**: the trouble is the deployment's and hits all archives of a project alike, so no attempt is used. The project is suspended on that side (source, destination, keys, vendor). A probe looks after a second, later every 20 seconds; as soon as one succeeds, all its archives go on in their old order. An archive that is held for `UNSEAL_SUSPEND_MAX_MS` in all is a dead letter, and so is one that is refused three times while others of its project succeed.",
    ].join("\n"),
    "At a terminal there is no worker that tries again: the command ends with an exit code (1 failed for good, 2 usage or configuration, 3 may be tried again) and says what to do there. An archive without a password, or of 0 bytes, is an outcome, not an error.",
    table(["code", "kind", "owner", "in the queue", "meaning", "remedy", "exit code", "at a terminal"], rows),
  )
}
