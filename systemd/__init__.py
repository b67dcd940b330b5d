"""systemd units, installed as ``appliance.systemd``. This release brings none yet."""
