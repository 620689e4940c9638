"""Topics of Kafka clusters: pinned by topic id and offsets, read by assignment up to the end or not at all (`decisions.md` D20).

Only `cluster`, `reading` and `failures` load the driver, when a topic is pinned.
"""
