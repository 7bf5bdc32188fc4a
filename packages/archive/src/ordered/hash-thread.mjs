// The thread of hash-thread.ts. Plain JavaScript, because stripping types would take more memory here than everything else.
import { createHash } from "node:crypto"
import { parentPort, workerData } from "node:worker_threads"

const { slots, slotSize } = workerData
const hashes = new Map()

parentPort.on("message", ({ hash, slot, length, end }) => {
  const begun = hashes.get(hash) ?? createHash("sha256")
  if (slot !== undefined) begun.update(new Uint8Array(slots, slot * slotSize, length))
  if (end) hashes.delete(hash)
  else hashes.set(hash, begun)
  parentPort.postMessage(end ? { slot, hash, digest: begun.digest("hex") } : { slot })
})
