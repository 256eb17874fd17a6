"""`python -m monitor` is `tidegauge`."""

from monitor.cli import main

if __name__ == "__main__":
    main()
