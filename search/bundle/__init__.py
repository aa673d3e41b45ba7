"""A bundle: a folder that stands alone, with a model and what it takes to run and to rebuild it."""

LAYOUTS = ("folder", "hub", "triton")
"""Forms of a bundle; the first is the one that is written unless another is asked for."""
