"""A study whose jobs are done by trials of Ray Tune. Needs the extra `ray`."""
