"""What crosses our boundary, as frozen, closed models; the JSON Schemas beside them are generated."""
