"""Jobs of a multirun, and the search."""
