"""Compare many runs: `read` loads them, `group` and `compare` analyze, `tables` and `figures` display."""
