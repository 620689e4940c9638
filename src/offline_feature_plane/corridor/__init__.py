"""The use cases: plan, build, publish, verify. They use only ports."""
