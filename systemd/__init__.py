"""systemd units, installed as ``appliance.systemd``; ``appliance.units`` fits them to a machine."""
