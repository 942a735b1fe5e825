"""Identify people by reading a face image row by row with recurrent nets."""
