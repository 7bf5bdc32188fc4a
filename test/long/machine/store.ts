// The S3 server that stands in for docker-compose.yml's, on port 8333.
import { startStore } from "../../compose/stores.ts"

await startStore("0.0.0.0", 8333)
console.log("listening")
