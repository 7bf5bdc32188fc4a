/** `unseal console --help`. */
import { helpRowsOf, processHelp } from "@unseal/service/settings/help"

process.stdout.write(
  processHelp(
    "unseal console",
    'Serves the operators\' web page. Runs until SIGTERM or Ctrl-C, and logs a line with "listening" and its ports when it is ready. Probes and metrics are on the admin port. "unseal console user NAME" makes a line for the file of users.',
    helpRowsOf("console"),
  ),
)
