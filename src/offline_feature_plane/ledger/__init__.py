"""The run ledger: verbs over a small connector, one database adapter each."""
