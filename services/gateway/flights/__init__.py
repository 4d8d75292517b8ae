"""Questions in flight: who asks one that is being answered already listens to that answer."""
