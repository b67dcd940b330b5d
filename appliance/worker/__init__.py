"""A worker: one socket out to the master, a journal on disk, and an executor per run that outlives both."""
