"""What one would do to a network without a search: each technique of the field is one value, in the file of its family.

To add a technique, write a `TechniqueKind` in the file of its family (a new family is a new file), and put it at its
place in `registry.TECHNIQUES`. Nothing else names techniques one by one. `CONTRIBUTING.md` shows one.
"""
