"""What an artifact is worth: building, timing and scoring files, and predicting their latency."""
