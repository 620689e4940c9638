"""What a profile's definitions mean: sources, groups, sets and computed columns, resolved and typed; every problem noted with its place."""
