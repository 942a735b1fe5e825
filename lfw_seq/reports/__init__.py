"""Many runs together: `read` finds them, `group` and `compare` analyze them, `tables` and `figures` show them."""
