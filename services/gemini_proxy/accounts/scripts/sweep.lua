-- Books leases whose time is over, at most `most`; how many there were.

return lapse_some(call.most)
