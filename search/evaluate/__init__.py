"""One trial's steps: what is built, taught and measured."""
