"""The website: one module per place. A handler calls one use case, makes one view, names one template (journey C)."""
