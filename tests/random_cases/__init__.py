"""Random panels, compared with one dense normal each."""
