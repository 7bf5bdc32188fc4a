import { describeForeign } from "./foreign-suite.ts"
import { startRadosgw } from "./radosgw.ts"

describeForeign(
  "Ceph radosgw",
  startRadosgw,
  {
    conditionalPut: "refuses with 412",
    conditionalComplete: "replaces",
    wrongChecksum: "ignored",
    echoesChecksum: false,
    repeatedComplete: 200,
  },
  ["conditional commit"],
)
