/**
 * An orphaned job is nowhere: its hash is there, but it neither waits nor runs, and has not ended.
 *
 * BullMQ leaves none, since each of its steps is one script. A Redis can: if its machine goes down in the midst of writing a
 * transaction into the append-only file, it drops that transaction at its next start but leaves the half in the file, where
 * the next `EXEC` ends it; at the start after that the half is applied (Redis 7.0.15, `aof-load-truncated yes`, whatever
 * `appendfsync` says). An orphaned job would never begin, and every callback for it would be a duplicate: the recording would be lost.
 * So it counts as not there for whoever looks for a job, and whoever adds it puts it back in line.
 */
export const IS_ORPHANED = `
local function isOrphaned(prefix, id)
  for _, set in ipairs({ "prioritized", "delayed", "completed", "failed" }) do
    if redis.call("ZSCORE", prefix .. set, id) then return false end
  end
  for _, list in ipairs({ "active", "wait", "paused" }) do
    if redis.call("LPOS", prefix .. list, id) then return false end
  end
  return true
end
`
