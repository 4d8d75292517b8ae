-- Append to the events of a flight and renew its leader's lease. With `last`, the flight ends.
-- KEYS: the key's prefix. ARGV: the flight, the leader's term, the lease in ms, how long the keys live in ms, how long
-- the events outlive the end in ms, '1' for last, how many of this term are there already, the events.
-- Answers 1, or 0 when another leads.
local prefix, flight, term = KEYS[1], ARGV[1], ARGV[2]
local lease_ms, keep_ms, linger_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local last, count = ARGV[6] == '1', tonumber(ARGV[7])
local state = redis.call('HMGET', prefix, 'flight', 'term')
if state[1] ~= flight or state[2] ~= term then
  return 0
end
local events = prefix .. ':events:' .. flight
for i = 8, #ARGV do
  redis.call('XADD', events, term .. '-' .. (count + i - 8), 'event', ARGV[i])
end
if last then
  redis.call('DEL', prefix, prefix .. ':waiters')
  redis.call('PEXPIRE', events, linger_ms)
  return 1
end
local time = redis.call('TIME')
redis.call('HSET', prefix, 'until', time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms)
redis.call('PEXPIRE', prefix, keep_ms)
redis.call('PEXPIRE', events, keep_ms)
return 1
