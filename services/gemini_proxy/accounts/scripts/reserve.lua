-- Holds a claim at the member with the most room, or tells when there is room after the claims ahead.
-- Answers {'lease', member, soft budgets it goes beyond...}, {'refusal', dimension, limit, milliseconds or ''}
-- or {'settled'} for an attempt that has been.

local lines = {}

local function line_named(name, make, ...)
  lines[name] = lines[name] or make(...)
  return lines[name]
end

local function smaller(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

-- What a member's provider has said of itself: a limit of `dimension` that is not forgotten yet.
local function learned_limit(learned, dimension)
  local limit = learned[dimension]
  if limit and limit[2] > NOW then return limit[1] end
end

local function learned_of(member, model)
  local found = redis.call('HGETALL', key('learned', member, model))
  local learned = {}
  for i = 1, #found, 2 do learned[found[i]] = cjson.decode(found[i + 1]) end
  return learned
end

-- Everything that must have room at a member: {dimension, limit, need, line}; a block is {dimension, limit, until}.
local function checks_at(claim, member)
  local checks = {}
  local model_learned = learned_of(member.name, claim.rate)
  local member_learned = learned_of(member.name, '')
  local function check(dimension, need, line, ...)
    local learned = learned_limit(model_learned, dimension) or learned_limit(member_learned, dimension)
    local limit = smaller(member.limits[dimension], learned)
    if limit then
      local name = cjson.encode({dimension, member.name, dimension ~= 'spend_per_10_minutes' and claim.rate or ''})
      checks[#checks + 1] = {dimension = dimension, limit = limit, need = need, line = line_named(name, line, ...)}
    end
  end
  check('requests_per_minute', 1, minute_line, key('requests', member.name, claim.rate))
  check('input_tokens_per_minute', claim.tokens, tokens_line, key('tokens', member.name, claim.rate))
  check('requests_per_day', 1, day_line, member.name, claim.rate)
  check('spend_per_10_minutes', claim.cost, spend_line, key('spend', member.name))
  check('concurrency', 1, function()
    local alive = tonumber(redis.call('HGET', PREFIX .. 'slots', cjson.encode({member.name, claim.rate})) or 0)
    return line_of(alive, alive, {})
  end)
  for _, learned in ipairs({model_learned, member_learned}) do
    local block = learned.block
    if block and block[1] > NOW then
      local limit = smaller(member.limits[block[2]], learned_limit(learned, block[2])) or 0
      checks[#checks + 1] = {dimension = block[2], limit = limit, need = 0, blocked_until = block[1]}
    end
  end
  return checks
end

local function budget_checks(claim)
  local checks = {}
  for _, budget in ipairs(claim.budgets) do
    if budget.hard then
      local line = line_named(cjson.encode({budget.period, claim.tenant}), budget_line, claim.tenant, budget.period)
      checks[#checks + 1] = {dimension = 'budget_' .. budget.period, limit = budget.limit, need = claim.cost, line = line}
    end
  end
  return checks
end

-- When all checks pass, the check that passes last, and the least share of a limit that is left then.
local function all_pass_at(checks, time)
  local latest, last, spare = time, nil, 1
  for _, check in ipairs(checks) do
    local at = check.blocked_until or room_at(check.line, check.need, check.limit, time)
    if at > latest then latest, last = at, check end
    if check.line then
      spare = math.min(spare, (check.limit - check.line.sum - check.need) / math.max(check.limit, 1))
    end
  end
  return latest, last, spare
end

local function choose(claim, time)
  local best
  for _, member in ipairs(claim.members) do
    local checks = checks_at(claim, member)
    local at, last, spare = all_pass_at(checks, time)
    if not best or at < best.at or (at == best.at and spare > best.spare) then
      best = {member = member.name, checks = checks, at = at, last = last, spare = spare}
    end
  end
  local budgets = budget_checks(claim)
  local at, last = all_pass_at(budgets, time)
  if at > best.at then best.at, best.last = at, last end
  for _, check in ipairs(budgets) do best.checks[#best.checks + 1] = check end
  return best
end

local function soft_budgets_beyond(claim)
  local beyond = {}
  for _, budget in ipairs(claim.budgets) do
    local line = budget_line(claim.tenant, budget.period)
    if not budget.hard and claim.cost > budget.limit - line.sum then beyond[#beyond + 1] = 'budget_' .. budget.period end
  end
  return beyond
end

local function hold(claim, member)
  local day, month = period_at(context.day, NOW), period_at(context.month, NOW)
  local pacific = period_at(context.pacific, NOW)
  local record = {
    state = 'open', request = claim.request, tenant = claim.tenant, member = member, model = claim.model,
    rate = claim.rate,
    tokens = claim.tokens, cost = claim.cost, day = day[1], day_ends = day[3], month = month[1],
    month_ends = month[3], pacific = pacific[1], pacific_ends = pacific[3],
  }
  attempt_save(claim.attempt, record)
  redis.call('ZADD', LEASES, int(NOW + context.lease_ms), claim.attempt)
  redis.call('HINCRBY', PREFIX .. 'slots', cjson.encode({member, claim.rate}), 1)
  window_put(requests_of(record), claim.attempt, 1, FAR + NOW)
  window_put(tokens_of(record), claim.attempt, claim.tokens, FAR + NOW)
  window_put(spend_of(record), claim.attempt, claim.cost, FAR + NOW)
  day_count(record, pacific[1], 1)
  money_move(record, 'held', claim.cost)
end

lapse_some(LAPSES_PER_CALL)
local claim = call.claim
local record = attempt_load(claim.attempt)
if record and record.state == 'open' then return {'lease', record.member} end
if record and record.state ~= 'returned' then return {'settled'} end

local time, last = NOW, nil
for _, earlier in ipairs(call.ahead) do
  local chosen = choose(earlier, time)
  -- One that can never be served keeps nobody waiting.
  if chosen.at < NEVER then
    time, last = chosen.at, chosen.last or last
    for _, check in ipairs(chosen.checks) do
      if check.line then place(check.line, check.need, time) end
    end
  end
end

local chosen = choose(claim, time)
if chosen.at > NOW then
  local short = chosen.last or last
  return {'refusal', short.dimension, int(short.limit), chosen.at < NEVER and int(chosen.at - NOW) or ''}
end
local beyond = soft_budgets_beyond(claim)
if #call.ahead == 0 then hold(claim, chosen.member) end
return {'lease', chosen.member, unpack(beyond)}
