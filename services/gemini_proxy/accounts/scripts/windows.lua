-- A sliding window: a sorted set of attempts by the time they leave it, and a hash of their amounts, where '' is the sum.
-- What is in flight has no such time yet; its score is FAR and the time of its reservation.

local FAR = 1e15

local function window_drop(window, attempt)
  local amount = redis.call('HGET', window .. ':amounts', attempt)
  if amount then
    redis.call('ZREM', window, attempt)
    redis.call('HDEL', window .. ':amounts', attempt)
    redis.call('HINCRBY', window .. ':amounts', '', int(-amount))
  end
end

local function window_put(window, attempt, amount, leaves)
  if leaves <= NOW then return window_drop(window, attempt) end
  local before = redis.call('HGET', window .. ':amounts', attempt) or 0
  redis.call('ZADD', window, int(leaves), attempt)
  redis.call('HSET', window .. ':amounts', attempt, int(amount))
  redis.call('HINCRBY', window .. ':amounts', '', int(amount - before))
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
  repeat
    local left = redis.call('ZRANGEBYSCORE', window, '-inf', int(NOW), 'LIMIT', 0, 256)
    for _, attempt in ipairs(left) do window_drop(window, attempt) end
  until #left < 256
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
  local sum = 0
  for _, attempt in ipairs(redis.call('ZRANGEBYSCORE', window, int(FAR), '+inf')) do
    sum = sum + redis.call('HGET', window .. ':amounts', attempt)
  end
  return sum
end
