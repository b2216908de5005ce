"""How soon an end is noticed, and with how many requests: ours beside the schedules of others."""
