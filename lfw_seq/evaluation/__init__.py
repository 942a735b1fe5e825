"""What the predictions of one run show."""
