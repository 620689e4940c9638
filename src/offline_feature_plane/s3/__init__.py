"""What artifacts and archives in buckets have in common: addresses, clients, requests, and what goes wrong with them.

Only `clients`, `bucket` and `failures` load the SDK.
"""
