"""`python -m rella_cli`."""

from rella_cli.main import main

main()
