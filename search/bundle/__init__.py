"""A bundle: a folder that stands alone, with a model, all that is known of it, and what it takes to run and rebuild it."""
