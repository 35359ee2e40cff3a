-- Decides on the minutes and hours of one meter of one organization, in one step, by the time of this Redis.
--
-- KEYS[1]      the answer to this operation, once it has one
-- KEYS[2...]   use by sub-bucket, a hash for each window
-- ARGV[1]      the latest time at which it may count, in microseconds
-- ARGV[2]      for how long after that its answer is kept, in milliseconds
-- ARGV[3]      how much is asked for
-- ARGV[4]      'use', 'refuse' where only the answer is to be kept, or 'ask' where not even that
-- ARGV[5]      the fingerprint of what is asked
-- ARGV[6]      what whoever asks wants to remember of it, without spaces
-- ARGV[7...]   for each window the width of a sub-bucket in microseconds and the most that may be used, -1 for no bound
--
-- Answers {0, answer}, {1, the answer that it had}, or {2, now} where it came too late. An answer has, apart by spaces: the
-- fingerprint, what is to be remembered, now, and for each window what had been used, when the oldest of that is free again, and when
-- what is asked fits; 0 for never.

-- A sub-bucket stays below half of what is exact.
local MOST = 4503599627370496
-- A sub-bucket counts until it lies wholly outside of the window.
local BUCKETS = 60

local is_kept = ARGV[4] ~= 'ask'
if is_kept then
  local known = redis.call('GET', KEYS[1])
  if known then return {1, known} end
end
local latest = tonumber(ARGV[1])
local now, late = clock(latest)
if late then return {2, whole(now)} end

local quantity = tonumber(ARGV[3])
local admitted = ARGV[4] == 'use'
local windows = {}
local answer = {}
for w = 2, #KEYS do
  local width, most = tonumber(ARGV[2 * w + 3]), tonumber(ARGV[2 * w + 4])
  local current = math.floor(now / width)
  local stored = redis.call('HGETALL', KEYS[w])
  local buckets, gone, used, newest, in_newest = {}, {}, 0, current, 0
  for i = 1, #stored, 2 do
    local index, amount = tonumber(stored[i]), tonumber(stored[i + 1])
    if index < current - BUCKETS then
      gone[#gone + 1] = stored[i]
    else
      buckets[#buckets + 1] = {index, amount}
      used = used + amount
      -- Another Redis whose clock was ahead may have counted before this one: time does not run back.
      if index >= newest then newest, in_newest = index, amount end
    end
  end
  table.sort(buckets, function(a, b) return a[1] < b[1] end)
  local oldest, fits = 0, 0
  if buckets[1] then oldest = (buckets[1][1] + BUCKETS + 1) * width end
  if most >= 0 and quantity > math.max(0, most - used) then
    admitted = false
    local left = used
    for _, bucket in ipairs(buckets) do
      if quantity > most or left <= most - quantity then break end
      left = left - bucket[2]
      fits = (bucket[1] + BUCKETS + 1) * width
    end
  end
  windows[w] = {width = width, gone = gone, newest = newest, in_newest = in_newest}
  answer[#answer + 1] = whole(used)
  answer[#answer + 1] = whole(oldest)
  answer[#answer + 1] = whole(fits)
end

if admitted and quantity > 0 then
  for w = 2, #KEYS do
    local window = windows[w]
    redis.call('HSET', KEYS[w], whole(window.newest), whole(math.min(window.in_newest + quantity, MOST)))
    if #window.gone > 0 then redis.call('HDEL', KEYS[w], unpack(window.gone)) end
    -- A minute more than the window needs, for clocks that are apart.
    redis.call('PEXPIRE', KEYS[w], whole(math.ceil(window.width * (BUCKETS + 2) / 1000) + 60000))
  end
end

local text = ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. whole(now) .. ' ' .. table.concat(answer, ' ')
if is_kept then
  redis.call('SET', KEYS[1], text, 'PX', whole(math.ceil((latest - now) / 1000) + tonumber(ARGV[2])))
end
return {0, text}
