// Answers for the names in the given file (a JSON object of lists of addresses), on the given address, as an
// engine's own name server does for the services of a compose file.
import { createSocket } from "node:dgram"
import { readFileSync } from "node:fs"
import { decode, encode, RECURSION_DESIRED } from "dns-packet"

const [address, file] = process.argv.slice(2) as [string, string]
const NO_SUCH_NAME = 3
const server = createSocket("udp4")
server.on("message", (message, client) => {
  const { id, questions = [] } = decode(message)
  const { name, type } = questions[0]!
  const addresses: string[] | undefined = JSON.parse(readFileSync(file, "utf8"))[name]
  const answers = type === "A" ? (addresses ?? []).map((data) => ({ type, name, ttl: 0, data })) : []
  const flags = RECURSION_DESIRED | (addresses === undefined ? NO_SUCH_NAME : 0)
  const response = encode({ type: "response", id: id!, flags, questions, answers })
  server.send(response, client.port, client.address)
})
server.bind(53, address, () => console.log("listening"))
