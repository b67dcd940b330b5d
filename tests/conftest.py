"""For all tests: the hook that refuses a second opener of a live database file is in force (reliability.md 3.1)."""

from appliance.db.sqlite import guard

guard.install()
