"""The runtimes that files are built for, one file or a few for each."""
