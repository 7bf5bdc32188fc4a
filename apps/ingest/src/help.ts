/** `unseal ingest --help`. */
import { helpRowsOf, processHelp } from "@unseal/service/settings/help"

process.stdout.write(
  processHelp(
    "unseal ingest",
    'Takes the vendor\'s callbacks and enqueues their archives. Runs until SIGTERM or Ctrl-C, and logs a line with "listening" and its ports when it is ready. Probes and metrics are on the admin port.',
    helpRowsOf("ingest"),
  ),
)
