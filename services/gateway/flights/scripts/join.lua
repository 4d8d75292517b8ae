-- Join the flight of a key, or lead it: where there is none, or where its leader's lease has run out.
-- KEYS: the key's prefix. ARGV: a name for a new flight, the waiter, the flight it follows already or '', the lease in
-- ms, how long the keys live in ms, ms left of the deadline.
-- Answers {role, flight, term, ms left of the leader's deadline}.
local prefix, new, waiter, following = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local lease_ms, keep_ms, left_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', prefix, 'flight', 'term', 'until', 'deadline')
local flight, term, leased, deadline = state[1], tonumber(state[2]), tonumber(state[3]), tonumber(state[4])

-- What it follows has ended, and its end is there to be read.
if following ~= '' and flight ~= following then
  local newest = redis.call('XREVRANGE', prefix .. ':events:' .. following, '+', '-', 'COUNT', 1)[1]
  local kind = newest and string.sub(newest[2][2], 1, 1)
  if kind == 'F' or kind == 'Z' then
    return {'follow', following, 0, 0}
  end
end
if flight and leased >= now then
  redis.call('ZADD', prefix .. ':waiters', now + lease_ms, waiter)
  redis.call('PEXPIRE', prefix .. ':waiters', keep_ms)
  return {'follow', flight, term, deadline - now}
end
if not flight then
  flight, term = new, 0
  redis.call('DEL', prefix .. ':waiters')
end
redis.call('ZREM', prefix .. ':waiters', waiter)
redis.call('HSET', prefix, 'flight', flight, 'term', term + 1, 'until', now + lease_ms, 'deadline', now + left_ms)
redis.call('PEXPIRE', prefix, keep_ms)
return {'lead', flight, term + 1, left_ms}
