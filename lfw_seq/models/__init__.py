"""Nets from row sequences (B, T, F) to logits (B, C): plain modules without loss, Lightning or config."""
