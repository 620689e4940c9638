"""Label assertions in a PostgreSQL database: the table and rights, loading, and reading as of an instant.

Only `schema` loads without the driver.
"""
