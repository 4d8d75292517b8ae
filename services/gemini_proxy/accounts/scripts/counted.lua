-- The provider has answered: the 60 s of this attempt run from now.

lapse_some(LAPSES_PER_CALL)
local record = attempt_load(call.attempt)
if not record or record.counted or not (record.state == 'open' or record.state == 'lost') then return end
day_land(record, NOW)
record.counted = NOW
window_date(requests_of(record), call.attempt, 1, NOW + MINUTE_MS)
window_date(tokens_of(record), call.attempt, record.tokens, NOW + MINUTE_MS)
attempt_save(call.attempt, record)
