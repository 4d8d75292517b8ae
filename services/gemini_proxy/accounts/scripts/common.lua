-- What every script begins with. KEYS[1] is the prefix of all keys. ARGV: what is the same for every call, as JSON; this
-- call, as JSON; the time in milliseconds of 1970, or '' for the server's own.
-- Numbers are doubles, exact to 2^53; they become text by `int` alone, since `..` writes 14 digits.

local PREFIX = KEYS[1]
local context = cjson.decode(ARGV[1])
local call = cjson.decode(ARGV[2])

local NOW = tonumber(ARGV[3])
if not NOW then
  local time = redis.call('TIME')
  NOW = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- One more than the window: NOW is cut to whole milliseconds.
local MINUTE_MS = 60001
local TEN_MINUTES_MS = 600001

local function int(number)
  return string.format('%.0f', number + 0) -- not -0
end

local function key(kind, ...)
  return PREFIX .. kind .. ':' .. cjson.encode({...})
end

-- The period of a list that holds a time: {id, begins, ends}; Lua knows no time zones, so the caller brings them.
local function period_at(periods, time)
  for _, period in ipairs(periods) do
    if time < period[3] then return period end
  end
  return periods[#periods]
end
