"""Face images from LFW, a folder or a generator; their split; and row sequences as model input."""
