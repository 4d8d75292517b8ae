-- The provider refused: nothing until then, and no more than its limit for an hour. Spend is the member's over all models.

local LIMIT_KNOWN_MS = 3600 * 1000

lapse_some(LAPSES_PER_CALL)
local name = key('learned', call.member, call.dimension ~= 'spend_per_10_minutes' and call.model or '')
local until_ms = NOW + call.block_ms
if call.dimension == 'requests_per_day' then until_ms = period_at(context.pacific, NOW)[3] end
local before = redis.call('HGET', name, 'block')
if not before or cjson.decode(before)[1] < until_ms then
  redis.call('HSET', name, 'block', '[' .. int(until_ms) .. ',"' .. call.dimension .. '"]')
end
if call.limit then
  redis.call('HSET', name, call.dimension, '[' .. int(call.limit) .. ',' .. int(NOW + LIMIT_KNOWN_MS) .. ']')
end
redis.call('PEXPIRE', name, 2 * 24 * 3600 * 1000)
