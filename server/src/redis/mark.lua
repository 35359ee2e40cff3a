-- Writes the mark of an early refusal, unless a later version of the account has left another, or has said that more is free.
--
-- KEYS[1]   the mark
-- KEYS[2]   the version of the account from which on marks count
-- ARGV[1]   until when it lives, in microseconds, if not for less by ARGV[3]
-- ARGV[2]   the account's version
-- ARGV[3]   for how long it lives at most, in milliseconds
-- ARGV[4]   what is in it
--
-- Answers {0, 1} if it was written, {0, 0} if not, {2, now} where its time is over: then what would have kept it away may be gone.

local ends = tonumber(ARGV[1])
local now, late = clock(ends)
if late then return {2, whole(now)} end
local lives = math.min(tonumber(ARGV[3]), math.floor((ends - now) / 1000))
local version, least, there = tonumber(ARGV[2]), redis.call('GET', KEYS[2]), redis.call('GET', KEYS[1])
if lives < 1 or (least and tonumber(least) > version) or (there and tonumber(string.match(there, '^%d+')) > version) then
  return {0, '0'}
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[4], 'PX', whole(lives))
return {0, '1'}
