"""The master: worker connections, who is connected, who gets which run, and the loops that keep time."""
