/** `unseal queue` on the dead letters of a real worker. The subjects share one system, in this order. */
import { useDeadLetters } from "./dead-letters.ts"
import { lists } from "./listing.ts"
import { redrives } from "./redriving.ts"
import { accounts } from "./status.ts"

useDeadLetters()
lists()
redrives()
accounts()
