"""Records decoded in batches: bytes or columns in, settled columns out; what is unusual is left to the law (`docs/decisions/0042`)."""
