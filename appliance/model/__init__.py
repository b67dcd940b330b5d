"""The ground: pure values and rules. Nothing here reads a clock, a file, a socket or a random number."""
