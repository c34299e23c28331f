"""The job table on its engines: `contract.py` is the one contract, each other module one engine that keeps it."""
