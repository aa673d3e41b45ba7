"""Ready-made tasks, study files, and how a task of the user's own is loaded."""
