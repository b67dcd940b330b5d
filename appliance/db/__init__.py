"""Storage: the repository interface, its adapters and the log files."""
