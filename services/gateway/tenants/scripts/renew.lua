-- Tells of calls of a tenant that go on: their leases begin anew, by the server's time.
-- KEYS: the calls in flight by when their leases end (sorted set).
-- ARGV: a lease in ms, then the calls' ids.

local lease_ms = tonumber(ARGV[1])
local time = redis.call('TIME')
local ends_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + lease_ms
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], ends_ms, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], lease_ms)
