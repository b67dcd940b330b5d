"""``orchestra crash-test``: does this installation lose or double anything when it is killed? (O8, R1)

A real server and real workers run as processes in a temporary directory, with a load of runs whose output and ends are
known beforehand. They are killed, stopped and continued at random, connections are cut and silenced. When all has
healed, one checker compares what the service says with what the jobs did, for the invariants of reliability.md 1.
"""
