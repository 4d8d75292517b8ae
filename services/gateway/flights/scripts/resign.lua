-- Give up the lead of a flight: nobody in this process waits for it, or the process ends.
-- KEYS: the key's prefix. ARGV: the flight, the leader's term, '1' when it cannot go on for others.
-- Answers 1, or 0 when others wait and it must go on for them.
local prefix, flight, term, must = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local state = redis.call('HMGET', prefix, 'flight', 'term')
if state[1] ~= flight or state[2] ~= term then
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZCOUNT', prefix .. ':waiters', now, '+inf') == 0 then
  redis.call('DEL', prefix, prefix .. ':waiters', prefix .. ':events:' .. flight)
  return 1
end
if must then
  redis.call('HSET', prefix, 'until', 0)
  return 1
end
return 0
