import { queuePrefix } from "../names.ts"
import type { RedisClient } from "./client.ts"

/**
 * Every command of BullMQ's scripts and ours, in a harmless form. `$` is a key that exists for this alone. The letter after it is
 * the key's type.
 */
const COMMANDS = `
set $v 1 PX 60000 · get $v · incr $v · incrby $v 1 · exists $v · pexpire $v 60000 · persist $v · pttl $v
copy $v $w REPLACE · rename $w $v
hset $h f 1 · hmset $h f 1 · hsetnx $h f 1 · hget $h f · hmget $h f · hgetall $h · hexists $h f · hincrby $h n 1 · hdel $h f
lpush $l a · rpush $l b · llen $l · lindex $l 0 · lrange $l 0 1 · lpos $l a · lrem $l 1 a · ltrim $l 0 1 · rpoplpush $l $m · rpop $m
sadd $s a · sismember $s a · smembers $s · scard $s · srem $s a
zadd $z 1 a · zcard $z · zcount $z 0 1 · zscore $z a · zmscore $z a · zrange $z 0 1 · zrevrange $z 0 1 · zrangebyscore $z 0 1
zrevrangebyscore $z 1 0 · zrem $z b · zremrangebyrank $z 5 6 · zremrangebyscore $z 5 6 · zpopmin $z · bzpopmin $z 0.001
xadd $x * f 1 · xtrim $x MAXLEN 0
eval return(redis.call('TIME')) 1 $v · evalsha ${"0".repeat(40)} 1 $v
del $v $h $l $m $s $z $x`
  .trim()
  .split(/\n| · /)
  .map((command) => command.split(" "))

/** The commands that the queue needs and this user may not run, in lower case. Rejects if Redis can't be asked. */
export async function missingCommands(client: RedisClient, queue: string): Promise<string[]> {
  const key = (type: string) => `${queuePrefix(queue)}:self-test:${type}`
  const pipeline = client.pipeline(
    COMMANDS.map((command) => command.map((word) => word.replace(/^\$(.)$/, (_, type) => key(type)))),
  )
  const answers = (await pipeline.exec()) ?? []
  const missing = answers.flatMap(([error], index) =>
    error && isForbidden(error) ? [COMMANDS[index]![0]!] : [],
  )
  if (answers.some(([error]) => error && /^NOPERM.*key/i.test(error.message)))
    return [`keys like ${queuePrefix(queue)}:*`]
  return missing
}

/** Forbidden to the user, or renamed away. */
const isForbidden = (error: Error): boolean =>
  /NOPERM|unknown command|This user has no permissions|Unknown Redis command/i.test(error.message)
