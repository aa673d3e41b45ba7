"""A bundle: a folder that stands alone, with a model and what it takes to run and to rebuild it."""
