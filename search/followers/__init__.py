"""Where trials are logged beside the study's own folder."""
