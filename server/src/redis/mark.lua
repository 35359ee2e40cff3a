-- Writes the mark of an early refusal, unless there is one of the same or a higher version of the account.
--
-- KEYS[1]   the mark
-- ARGV[1]   the latest time at which it may be written, in microseconds
-- ARGV[2]   the account's version
-- ARGV[3]   for how long it lives, in milliseconds
-- ARGV[4]   what is in it; empty where nothing is refused early any more
--
-- Answers {0, 1} if it was written, {0, 0} if not, {2, now} where it came too late: then what would have kept it away may be gone.

local now, late = clock(tonumber(ARGV[1]))
if late then return {2, whole(now)} end
local there = redis.call('GET', KEYS[1])
if there and tonumber(string.match(there, '^%d+')) >= tonumber(ARGV[2]) then
  return {0, '0'}
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[4], 'PX', ARGV[3])
return {0, '1'}
