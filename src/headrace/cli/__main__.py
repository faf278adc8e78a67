"""`python -m headrace.cli`: the command line, for those who start it from another process."""

from headrace.cli import main

if __name__ == "__main__":
    main()
