"""What may change in a network. Nothing here trains, builds files or measures."""
