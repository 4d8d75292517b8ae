-- When there is room. A line is what stands against a limit: its sum; `soon`, the part that may go at any moment, because
-- it is held by attempts in flight; the rest as a queue of {time it leaves, amount}, read piece by piece; and `placed`, the
-- claims ahead that have taken their place, which leave after all of it.

-- Attempts in flight may end at any moment; asking again sooner is not worth it.
local SOON_MS = 100
local NEVER = math.huge
local PIECE = 128

local function line_of(sum, soon, queue, stays, more)
  return {
    sum = sum, soon = soon, soon_at = NOW + SOON_MS, queue = queue, placed = {}, head = 1, stays = stays, more = more,
  }
end

local function entry_of(line, index)
  if index > #line.queue and line.more then
    local piece = line.more(#line.queue)
    for _, entry in ipairs(piece) do line.queue[#line.queue + 1] = entry end
    if #piece < PIECE then line.more = nil end
  end
  return line.queue[index] or line.placed[index - #line.queue]
end

local function minute_from(time) return time + MINUTE_MS end

-- Requests of attempts in flight count for 60 s from their answer: they leave no sooner than 60 s from now.
local function minute_line(window)
  local function more(count) return window_read(window, count, count + PIECE - 1, NOW + MINUTE_MS) end
  return line_of(window_sum(window), 0, {}, minute_from, more)
end

-- An attempt in flight may turn out to be less, or nothing at all.
local function held_line(window, stays)
  local sum = window_sum(window)
  local settled = redis.call('ZCOUNT', window, '-inf', '(' .. int(FAR))
  local function more(count) return window_read(window, count, math.min(count + PIECE, settled) - 1, 0) end
  return line_of(sum, window_in_flight(window), {}, stays, settled > 0 and more or nil)
end

local function tokens_line(window) return held_line(window, minute_from) end
local function spend_line(window) return held_line(window) end

local function day_line(member, model)
  local period = period_at(context.pacific, NOW)
  local counted = tonumber(redis.call('GET', key('requests_of_day', period[1], member, model)) or 0)
  -- Those reserved yesterday that the provider has not answered yet: it may count them today.
  local late = redis.call('ZCOUNT', key('requests', member, model), int(FAR), '(' .. int(FAR + period[2]))
  local function stays(time) return period_at(context.pacific, time)[3] end
  return line_of(counted + late, 0, {{period[3], counted + late}}, stays)
end

local function budget_line(tenant, name)
  local period = period_at(context[name], NOW)
  local spent = tonumber(redis.call('HGET', key('spent', name, period[1]), tenant) or 0)
  local held = tonumber(redis.call('HGET', key('held', name, period[1]), tenant) or 0)
  return line_of(spent + held, held, {{period[3], spent}})
end

-- The earliest time, from `time` on, at which `need` fits under `limit`.
local function room_at(line, need, limit, time)
  if need > limit then return NEVER end
  local excess = need - (limit - line.sum)
  if excess <= 0 then return time end
  if line.soon > 0 then
    excess, time = excess - line.soon, math.max(time, line.soon_at)
  end
  local index = line.head
  while excess > 0 do
    local entry = entry_of(line, index)
    if not entry then break end
    excess, time, index = excess - entry[2], math.max(time, entry[1]), index + 1
  end
  return time
end

-- A claim of those ahead takes its place at a time, at which those that have left by then have left.
local function place(line, need, time)
  if line.soon_at <= time then line.sum, line.soon = line.sum - line.soon, 0 end
  local entry = entry_of(line, line.head)
  while entry and entry[1] <= time do
    line.sum, line.head = line.sum - entry[2], line.head + 1
    entry = entry_of(line, line.head)
  end
  line.sum = line.sum + need
  if line.stays then
    line.placed[#line.placed + 1] = {line.stays(time), need}
  else
    line.soon, line.soon_at = line.soon + need, time + SOON_MS
  end
end
