"""Backup and restore of a whole appliance: one file with the database, the logs, the settings and the project files.

``making`` writes such a file while the server runs, ``restoring`` puts one back and fences the workers by lineage
(F24), ``archive`` is its format. The master key is never part of it: whoever steals a backup can forge nothing
(reliability.md 5.1).
"""

from __future__ import annotations

from appliance.backup.archive import Manifest
from appliance.backup.making import Made, back_up
from appliance.backup.restoring import Restored, restore, verify

__all__ = ["Made", "Manifest", "Restored", "back_up", "restore", "verify"]
