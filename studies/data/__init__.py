"""Data that students are taught and scored on, and the sources that it comes from."""
