import { describeForeign } from "./foreign-suite.ts"
import { startSwift } from "./swift.ts"

describeForeign(
  "OpenStack Swift",
  startSwift,
  {
    conditionalPut: "refuses with 501",
    conditionalComplete: "refuses with 412",
    wrongChecksum: "ignored",
    echoesChecksum: false,
    repeatedComplete: 200,
  },
  ["conditional commit"],
)
