-- What each script begins with.

-- Nobody whose clock follows this one asks for so long ahead, in microseconds.
local AHEAD = 10000000

-- Numbers are exact up to 2^53, and written without an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- The time of this Redis in microseconds, and whether it is too late for what may count until then: what was kept of it may be
-- gone by now.
local function clock(latest)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  return now, now > latest or latest > now + AHEAD
end

