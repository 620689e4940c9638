"""The use cases: plan, build, publish, verify. They speak only to ports."""
