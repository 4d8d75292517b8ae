-- A sliding window: a sorted set of attempts by the time they leave it, and a hash of their amounts, where '' is the sum
-- and '~' that of what is in flight, which has no such time yet: its score is FAR and the time of its reservation.

local FAR = 1e15

local function window_drop(window, attempt)
  local amounts = window .. ':amounts'
  local amount = redis.call('HGET', amounts, attempt)
  if amount then
    if tonumber(redis.call('ZSCORE', window, attempt)) >= FAR then redis.call('HINCRBY', amounts, '~', int(-amount)) end
    redis.call('ZREM', window, attempt)
    redis.call('HDEL', amounts, attempt)
    redis.call('HINCRBY', amounts, '', int(-amount))
  end
end

-- Drops what has left, at most 256; how many there were.
local function window_slide(window)
  local left = redis.call('ZRANGEBYSCORE', window, '-inf', int(NOW), 'LIMIT', 0, 256)
  for _, attempt in ipairs(left) do window_drop(window, attempt) end
  return #left
end

local function window_put(window, attempt, amount, leaves)
  window_slide(window) -- nobody asks for the sum where there is no limit
  window_drop(window, attempt)
  if leaves <= NOW then return end
  local amounts = window .. ':amounts'
  redis.call('ZADD', window, int(leaves), attempt)
  redis.call('HSET', amounts, attempt, int(amount))
  redis.call('HINCRBY', amounts, '', int(amount))
  if leaves >= FAR then redis.call('HINCRBY', amounts, '~', int(amount)) end
end

-- Another amount for what is in the window still.
local function window_amend(window, attempt, amount)
  local leaves = redis.call('ZSCORE', window, attempt)
  if leaves then window_put(window, attempt, amount, tonumber(leaves)) end
end

-- From now on it leaves at a time, whether it was in flight or had left already.
local function window_date(window, attempt, amount, leaves)
  local current = tonumber(redis.call('HGET', window .. ':amounts', attempt) or amount)
  window_put(window, attempt, current, leaves)
end

-- Drops what has left, and tells the sum of the rest.
local function window_sum(window)
  repeat until window_slide(window) < 256
  return tonumber(redis.call('HGET', window .. ':amounts', '') or 0)
end

-- Times and amounts of a piece of the window, in the order of leaving; what is in flight is said to leave at `in_flight`.
local function window_read(window, from, to, in_flight)
  local found = redis.call('ZRANGE', window, from, to, 'WITHSCORES')
  local entries = {}
  for i = 1, #found, 2 do
    local leaves = tonumber(found[i + 1])
    local amount = tonumber(redis.call('HGET', window .. ':amounts', found[i]))
    entries[#entries + 1] = {leaves < FAR and leaves or in_flight, amount}
  end
  return entries
end

-- The sum of what is in flight.
local function window_in_flight(window)
  return tonumber(redis.call('HGET', window .. ':amounts', '~') or 0)
end
