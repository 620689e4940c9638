"""Label timelines that OFS reads: files."""
