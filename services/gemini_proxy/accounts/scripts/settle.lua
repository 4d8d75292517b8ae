-- Puts an attempt's real figures in the place of what was held or booked for it. Answers 'settled', 'corrected',
-- 'repeated', 'unknown' (never seen, and the call does not say whose it was) or 'too old' (it may have been forgotten).

lapse_some(LAPSES_PER_CALL)
local attempt, origin = call.attempt, call.origin
local record = attempt_load(attempt)

if not record then
  if not origin then return 'unknown' end
  if origin.began < NOW - context.attempt_ms then return 'too old' end
  record = origin.record
  record.state = 'returned'
end

-- Held by a member here, where the answer was lost, and then leased by another without these books.
if origin and record.state == 'open' and record.member ~= origin.record.member then
  release(attempt, record)
  window_drop(requests_of(record), attempt)
  window_drop(tokens_of(record), attempt)
  window_drop(spend_of(record), attempt)
  day_count(record, record.pacific, -1)
  record = origin.record
  record.state = 'returned'
end

local state = record.state
-- The provider's record tells of it before its own replica has: that, or the end of its lease, is still to come.
if state == 'open' and call.outcome == 'lost' and not origin then return 'repeated' end
if state == 'final' or (state == 'returned' and not call.sent)
  or (state == 'provisional' and not (call.final and call.sent)) then
  return 'repeated'
end

-- A settlement that comes late was put off, or is the provider's own record: the windows go by when the attempt ended.
local ended = NOW
if state ~= 'open' then ended = origin and math.min(origin.ended, NOW) or tonumber(record.ended) or NOW end
local cost = call.metrics.cost
-- An answer without figures may have been counted all the same.
local tokens = call.tokens > 0 and call.tokens or tonumber(record.tokens)

if state == 'open' then release(attempt, record) end
if not call.sent then
  window_drop(requests_of(record), attempt)
  window_drop(tokens_of(record), attempt)
  window_drop(spend_of(record), attempt)
  day_count(record, record.pacific, -1)
  if record.landed then day_count(record, record.landed, -1) end
elseif state == 'provisional' then
  window_amend(tokens_of(record), attempt, tokens)
  window_amend(spend_of(record), attempt, cost)
else
  window_put(requests_of(record), attempt, 1, minute_after(record, ended))
  window_put(tokens_of(record), attempt, tokens, minute_after(record, ended))
  window_put(spend_of(record), attempt, cost, ended + TEN_MINUTES_MS)
  if state == 'returned' then day_count(record, record.pacific, 1) end
  day_land(record, ended)
end

local corrects = state == 'lost' or state == 'provisional'
if call.sent or corrects then
  local kind = corrects and 'correction' or (call.final and 'settled' or 'estimated')
  if kind == 'estimated' then call.at = ended end
  book(attempt, record, kind, call, call.metrics)
end
if not call.sent then
  record.state = 'returned'
elseif call.final then
  record = {state = 'final'}
else
  record.state = 'provisional'
end
attempt_save(attempt, record)
return corrects and 'corrected' or 'settled'
