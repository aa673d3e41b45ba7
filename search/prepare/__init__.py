"""What is learned before the first trial."""
