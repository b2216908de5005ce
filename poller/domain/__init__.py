"""What poller knows and decides: pure, standard library only, no clock, no randomness, no I/O."""
