"""What to do about what happened."""
