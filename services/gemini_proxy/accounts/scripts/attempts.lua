-- An attempt's record, from its reservation to its last correction. `state` is one of
--   open         holds its claim; `leases` has the time its lease ends
--   lost         its lease ended, at `ended`; booked at its worst case
--   provisional  booked as far as is known; a final settlement corrects it
--   returned     given back, as if it had never been claimed
--   final        nothing changes it; the record is but this word, so that a repetition is known for one
-- `rate` is whose requests, tokens and slots it counts among: its model's, or those of the model's batches.
-- The lease lives in the sorted set `leases`, what was booked in the fields `booked.*`.

local LEASES = PREFIX .. 'leases'

local function requests_of(record) return key('requests', record.member, record.rate) end
local function tokens_of(record) return key('tokens', record.member, record.rate) end
local function spend_of(record) return key('spend', record.member) end

local function attempt_load(attempt)
  local fields = redis.call('HGETALL', PREFIX .. 'attempt:' .. attempt)
  if #fields == 0 then return nil end
  local record = {}
  for i = 1, #fields, 2 do record[fields[i]] = fields[i + 1] end
  return record
end

local function attempt_save(attempt, record)
  local fields = {}
  for name, value in pairs(record) do
    fields[#fields + 1] = name
    fields[#fields + 1] = type(value) == 'number' and int(value) or value
  end
  local name = PREFIX .. 'attempt:' .. attempt
  redis.call('DEL', name)
  redis.call('HSET', name, unpack(fields))
  if record.state ~= 'open' then redis.call('PEXPIRE', name, int(context.attempt_ms)) end
end

local function expire_after(name, time)
  redis.call('PEXPIRE', name, int(math.max(1, time - NOW)))
end

local function money_move(record, kind, amount)
  for _, period in ipairs({'day', 'month'}) do
    local name = key(kind, period, record[period])
    redis.call('HINCRBY', name, record.tenant, int(amount))
    expire_after(name, record[period .. '_ends'] + context.attempt_ms)
  end
end

local function day_count(record, pacific, change)
  local name = key('requests_of_day', pacific, record.member, record.rate)
  redis.call('INCRBY', name, change)
  redis.call('PEXPIRE', name, 3 * 24 * 3600 * 1000)
end

-- The provider has it by `time` at the latest: one that was in flight over midnight may count on either day.
local function day_land(record, time)
  if not record.counted and not record.landed and time >= tonumber(record.pacific_ends) then
    record.landed = period_at(context.pacific, time)[1]
    day_count(record, record.landed, 1)
  end
end

local function rollup(record, metrics, sign)
  local name = PREFIX .. 'rollup:' .. record.day
  for metric, amount in pairs(metrics) do
    local model = record.answered ~= '' and record.answered or record.model
    local row = {record.tenant, record.member, model, record.outcome, metric}
    redis.call('HINCRBY', name, cjson.encode(row), int(sign * amount))
  end
end

-- Puts `metrics` in the place of what stands in the ledger for this attempt: an entry of the difference, and the sums.
-- An estimate is dated by the attempt's end, so that it can be looked for in the provider's record.
local function book(attempt, record, kind, facts, metrics)
  local difference = {}
  local before = {}
  for name, value in pairs(record) do
    local metric = string.match(name, '^booked%.(.*)$')
    if metric then
      before[metric] = tonumber(value)
      difference[metric] = -value
      record[name] = nil
    end
  end
  rollup(record, before, -1)
  for metric, amount in pairs(metrics) do
    difference[metric] = (difference[metric] or 0) + amount
    record['booked.' .. metric] = amount
  end
  record.outcome, record.answered = facts.outcome, facts.answered
  rollup(record, metrics, 1)
  money_move(record, 'spent', difference.cost or 0)

  local entry = {
    'at', int(facts.at or NOW), 'kind', kind, 'attempt', attempt, 'request', record.request, 'tenant', record.tenant,
    'member', record.member, 'model', record.model, 'answered', facts.answered, 'outcome', facts.outcome,
    'batch', facts.batch and '1' or '0', 'final', facts.final and '1' or '0', 'estimated', int(record.tokens),
  }
  for metric, amount in pairs(difference) do
    if amount ~= 0 then
      entry[#entry + 1] = '+' .. metric
      entry[#entry + 1] = int(amount)
    end
  end
  local ledger = PREFIX .. 'ledger:' .. record.day
  redis.call('XADD', ledger, '*', unpack(entry))
  expire_after(ledger, record.day_ends + context.retention_ms)
end

local function release(attempt, record)
  redis.call('ZREM', LEASES, attempt)
  redis.call('HINCRBY', PREFIX .. 'slots', cjson.encode({record.member, record.rate}), -1)
  money_move(record, 'held', -record.cost)
end

-- When the 60 s of an attempt that ended at a time are over.
local function minute_after(record, ended)
  return (record.counted or ended) + MINUTE_MS
end

local function lapse(attempt, record, ended)
  release(attempt, record)
  window_date(requests_of(record), attempt, 1, minute_after(record, ended))
  window_date(tokens_of(record), attempt, record.tokens, minute_after(record, ended))
  window_date(spend_of(record), attempt, record.cost, ended + TEN_MINUTES_MS)
  day_land(record, ended)
  record.state, record.ended = 'lost', ended
  local facts = {outcome = 'lost', answered = '', batch = false, final = false, at = ended}
  book(attempt, record, 'estimated', facts, {attempts = 1, not_final = 1, cost = tonumber(record.cost)})
  attempt_save(attempt, record)
end

-- Books leases whose time is over, the oldest first; how many there were.
local function lapse_some(most)
  local over = redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(NOW), 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #over, 2 do
    lapse(over[i], attempt_load(over[i]), tonumber(over[i + 1]))
  end
  return #over / 2
end

local LAPSES_PER_CALL = 16
