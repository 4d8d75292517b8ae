-- Takes a call of a tenant's limits, by the server's time; tells how many replicas ask.
-- KEYS: the requests of each second (hash), the calls in flight by when their leases end (sorted set),
--       the replicas by when they last asked (sorted set).
-- ARGV: requests a minute, calls at once (each 0 for no limit), the call's id, its lease in ms, the replica's id.
-- Returns {"taken" | "requests_per_minute" | "max_calls", ms until there may be room, replicas}.

local requests, calls, replicas = KEYS[1], KEYS[2], KEYS[3]
local per_minute, at_once = tonumber(ARGV[1]), tonumber(ARGV[2])
local lease_ms = tonumber(ARGV[4])
local time = redis.call('TIME')
local second = tonumber(time[1])
local now_ms = second * 1000 + math.floor(tonumber(time[2]) / 1000)

redis.call('ZADD', replicas, now_ms, ARGV[5])
redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now_ms - 60000)
redis.call('PEXPIRE', replicas, 61000)
local known = redis.call('ZCARD', replicas)

redis.call('ZREMRANGEBYSCORE', calls, '-inf', now_ms)
if at_once > 0 and redis.call('ZCARD', calls) >= at_once then
  return {'max_calls', 1000, known}
end

-- Any 60 seconds lie within this second and the 60 before it.
if per_minute > 0 then
  local counted, seconds, counts = 0, {}, redis.call('HGETALL', requests)
  for i = 1, #counts, 2 do
    local past = tonumber(counts[i])
    if past < second - 60 then
      redis.call('HDEL', requests, counts[i])
    else
      counted = counted + tonumber(counts[i + 1])
      seconds[#seconds + 1] = {past, tonumber(counts[i + 1])}
    end
  end
  if counted >= per_minute then
    table.sort(seconds, function(a, b) return a[1] < b[1] end)
    local leaves = 0
    for _, entry in ipairs(seconds) do
      counted = counted - entry[2]
      leaves = (entry[1] + 61) * 1000
      if counted < per_minute then break end
    end
    return {'requests_per_minute', leaves - now_ms, known}
  end
  redis.call('HINCRBY', requests, second, 1)
  redis.call('EXPIRE', requests, 62)
end
if at_once > 0 then
  redis.call('ZADD', calls, now_ms + lease_ms, ARGV[3])
  if redis.call('PTTL', calls) < lease_ms then
    redis.call('PEXPIRE', calls, lease_ms)
  end
end
return {'taken', 0, known}
