"""What a run ledger and a label store in PostgreSQL have in common: addresses, connections, and what goes wrong with them.

Only `connections` and `failures` load the driver.
"""
