"""`python -m autocompress`."""

from .cli import main

main()
