/**
 * An orphaned job is in no line: its hash exists, but it neither waits nor runs, and has not ended.
 *
 * BullMQ leaves none, because each of its steps is one script. But Redis can. If its machine goes down while it writes a
 * transaction to the append-only file, it drops that transaction at its next start, but leaves the half in the file, where the
 * next `EXEC` completes it; at the start after that, the half is applied (Redis 7.0.15, `aof-load-truncated yes`, whatever
 * `appendfsync` says). An orphaned job would never begin, and every callback for it would be a duplicate, so the recording would
 * be lost. Therefore a search for a job ignores it, and adding the job puts it back in line.
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
