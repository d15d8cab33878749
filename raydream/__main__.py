"""`python -m raydream` runs the `raydream` command."""

from raydream.cli.app import main

if __name__ == "__main__":
    main()
