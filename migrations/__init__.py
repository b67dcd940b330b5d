"""Changes of the storage layout, by kind of database; installed as ``appliance.migrations`` and loaded by name."""
