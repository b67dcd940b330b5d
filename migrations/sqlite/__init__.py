"""Schema changes of SQLite in the order of their numbers, each with ``apply(db)``. Never edited once released."""
