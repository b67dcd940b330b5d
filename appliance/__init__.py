"""Orchestra Appliance: job orchestration for a small team, on one server, with remote workers."""

__version__ = "0.1.0"
