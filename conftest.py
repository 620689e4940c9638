"""What is collected where: modules that need pyspark, where it is installed (`make test-spark`)."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pyspark") else ["src/offline_feature_plane/engines/spark/*"]
