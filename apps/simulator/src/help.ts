/** `unseal simulator --help`. */
import { helpRowsOf, processHelp } from "@unseal/service/settings/help"
import { settingRows } from "./settings.ts"

const own = settingRows().map((row) => ({ ...row, default: row.default ?? undefined }))

process.stdout.write(
  processHelp(
    "unseal simulator",
    "Plays the vendor: records archives, encrypts and uploads them, and sends callbacks. Serves an S3 store and the vendor's REST API. For trying and testing, not for production. Runs until SIGTERM or Ctrl-C.",
    [...own, ...helpRowsOf("simulator")],
  ),
)
