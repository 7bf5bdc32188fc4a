// The thread behind hash-thread.ts. Plain JavaScript: the stripper of types would take more memory here than all of its work.
import { createHash } from "node:crypto"
import { parentPort, workerData } from "node:worker_threads"

const { slots, slotSize } = workerData
const hashes = new Map()

parentPort.on("message", ({ hash, slot, length, end }) => {
  if (!hashes.has(hash)) hashes.set(hash, createHash("sha256"))
  if (slot !== undefined) {
    hashes.get(hash).update(new Uint8Array(slots, slot * slotSize, length))
    parentPort.postMessage({ slot })
  }
  if (end) {
    const digest = hashes.get(hash).digest("hex")
    hashes.delete(hash)
    parentPort.postMessage({ hash, digest })
  }
})
