-- From a version of an account on marks count, and those of lower versions do not any more.
--
-- KEYS[1]   the version of the account from which on marks count
-- ARGV[1]   the version
-- ARGV[2]   for how long that is remembered, in milliseconds
--
-- Answers 1, or 0 where the same or a higher version stands there.

local least = redis.call('GET', KEYS[1])
if least and tonumber(least) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
