"""The run ledger in a PostgreSQL database: where it is, its tables and rights, its connections, and the verbs on them.

Only `ledger` and `connections` load the driver.
"""
