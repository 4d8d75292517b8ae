-- Another term for leases that are not over.

lapse_some(LAPSES_PER_CALL)
for _, attempt in ipairs(call.attempts) do
  redis.call('ZADD', LEASES, 'XX', int(NOW + context.lease_ms), attempt)
end
