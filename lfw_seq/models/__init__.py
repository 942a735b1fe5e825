"""Nets from row sequences (B, T, F) to logits (B, C): plain modules that know no loss, no Lightning and no config."""
