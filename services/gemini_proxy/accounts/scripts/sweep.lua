-- Books leases whose time is over, at most `most`; how many there were. Writes in any case: a server that takes no writes
-- is of no use.

redis.call('SET', PREFIX .. 'swept', int(NOW), 'PX', MINUTE_MS)
return lapse_some(call.most)
