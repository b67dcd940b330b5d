"""Measurements: one program per figure (M1, M2, …), each beside its limit or peer, taken in the same run.

    python -m benchmarks.run all            every program
    python -m benchmarks.run m1 m4          some of them
    python -m benchmarks.run --quick all    fewer samples, for a first look

They drive the real product through its command line and its service: a server process and a worker process on a
temporary directory. Only ratios between figures of one run mean much; absolute figures depend on the machine and on
what else it does.
"""
