"""What all tests need at once: where compiled kernels are kept, and what is collected where.

Modules that need pyspark are collected where it is installed (`make test-spark`).
"""

from importlib.util import find_spec

from offline_feature_plane.adapters import cache_folder
from offline_feature_plane.kernels.compiling import prepare_cache

prepare_cache(cache_folder())  # where commands keep theirs, so that one process compiles for all

collect_ignore_glob = [] if find_spec("pyspark") else ["src/offline_feature_plane/engines/spark/*"]
