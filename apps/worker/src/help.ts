/** `unseal worker --help`. */
import { helpRowsOf, processHelp } from "@unseal/service/settings/help"

process.stdout.write(
  processHelp(
    "unseal worker",
    'Decrypts the archives that are in the queue. Runs until SIGTERM or Ctrl-C, hands back what it has begun, and ends. Logs a line with "listening" and its ports when it is ready. Probes and metrics are on the admin port.',
    helpRowsOf("worker"),
  ),
)
