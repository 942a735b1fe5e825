"""Faces from LFW, from a folder or drawn; their split; and the row sequences the nets read."""
