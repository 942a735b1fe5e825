"""Run folders: their files, and the way back from a checkpoint."""
