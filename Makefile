# Each target sets up what it needs: `make demo` and `make test` both work alone in a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OFS    := $(BIN)/ofs
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

# Where this is set, as in many images, every process would compile every module that it imports, again and again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo kernels test test-crash test-long test-services test-spark test-recipes lint bench bench-peers bench-limits bench-replay handbook handbook-table handbook-data docs schemas lock clean

demo: $(VENV)/ready                     ## run the main job on a simulated world
	$(OFS) demo

# Kernels are compiled once, beside lint; else every test process that is early would compile them for itself. Of the time of tests a quarter is
# waiting, so three processes keep two cores busy.
test: $(VENV)/ready                     ## everything that every change must pass
	$(MAKE) --no-print-directory -j 2 lint kernels
	$(BIN)/python -m pytest -q -n 3 --dist worksteal

test-crash: $(VENV)/ready kernels       ## what `make test` leaves out for its time: processes, disks, databases and stores fail at every step
	$(BIN)/python -m pytest -q -n 3 --dist worksteal tests/crash tests/contracts -m "crash and not long"

test-long: $(VENV)/ready kernels        ## the campaigns: minutes to hours
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m long

test-services: $(VENV)/ready .services/kafka/ready .services/kinesis/ready  ## sources beside other makers' servers; needs Java 17, Maven, Node
	$(BIN)/python -m pytest -q tests/services -m services

# A broker's libraries, 45 MB, from Maven Central.
.services/kafka/ready: tests/services/kafka/pom.xml
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.services/kafka
	touch $@

# A server of streams, 16 MB, from npm.
.services/kinesis/ready: tests/services/kinesis/package-lock.json
	mkdir -p $(@D) && cp tests/services/kinesis/package.json $< $(@D)
	npm ci --silent --prefix $(@D)
	touch $@

test-spark: .venv-spark/ready           ## the Spark engine; with LONG=1 its campaigns
	.venv-spark/bin/python -m pytest -q tests/spark src/offline_feature_plane/engines/spark $(if $(LONG),-m long)

# pyspark is 456 MB, so that it has an environment of its own; it needs Java 17. What is beside it in its lock, clients of Spark Connect need.
.venv-spark/ready: requirements.lock requirements-spark.lock pyproject.toml
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv-spark/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-spark.lock
	.venv-spark/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

test-recipes: .venv-recipes/ready       ## the recipes of docs/hand-over.md, with the libraries that they are for
	.venv-recipes/bin/python -m pytest -q tests/recipes

# Libraries to train with are large, so that they have an environment of their own; torch says how large in the file.
.venv-recipes/ready: requirements.lock requirements-recipes.txt pyproject.toml
	$(PYTHON) -m venv .venv-recipes
	.venv-recipes/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv-recipes/bin/pip install --quiet --disable-pip-version-check --requirement requirements-recipes.txt
	.venv-recipes/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

kernels: $(VENV)/ready                  ## compile the window kernels ahead of time
	$(OFS) warm

lint: $(VENV)/ready                     ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/ready                    ## floor, OFS and window SQL on 1 and 10 million simulated events
	$(BIN)/python benchmarks/bench.py

bench-peers: $(VENV)/ready .venv-peers/ready  ## the same features by Polars, pandas, PySpark and Feast beside OFS
	$(BIN)/python benchmarks/bench.py --events 100000 1000000 10000000 --repeats 3 --peers polars pandas spark feast

bench-limits: $(VENV)/ready             ## builds within limits of memory beside unlimited ones: 10 and 100 million events
	$(BIN)/python benchmarks/bench.py --events 10000000 --repeats 3 --limits 1GB 4GB
	$(BIN)/python benchmarks/bench.py --events 100000000 --repeats 1 --limits 4GB

bench-replay: $(VENV)/ready .services/kafka/ready  ## 50 million events from an archive and a Kafka topic within 2 GB (30 GB of disk)
	$(BIN)/python benchmarks/at_scale.py --events 5000000 --limit none 700MB
	$(BIN)/python benchmarks/at_scale.py --events 2000000 --limit 700MB --threads 1 2 --repeats 3
	$(BIN)/python benchmarks/at_scale.py --events 50000000 --limit 2GB --results

# PySpark and Feast want an older pandas, so they have an environment of their own; PySpark needs Java 17.
.venv-peers/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers/requirements.txt
	touch $@

handbook: handbook-data $(VENV)/ready   ## build the published handbook slice and compare: make handbook DATA=DIR
	$(BIN)/python examples/handbook/build.py --data "$(DATA)"

handbook-table: handbook-data .venv-handbook/ready  ## train the handbook's five models on a dataset of OFS, and show what a leak buys
	.venv-handbook/bin/python examples/handbook/table.py --data "$(DATA)"

handbook-data:
	@test -n "$(DATA)" || { echo "Say where the handbook's data is, for example: make handbook-table DATA=../handbook" \
	  "(examples/handbook/README.md says which files it has)." >&2; exit 2; }

# scikit-learn and XGBoost are no part of the project, so that they have an environment of their own.
.venv-handbook/ready: requirements.lock examples/handbook/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-handbook
	.venv-handbook/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv-handbook/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement examples/handbook/requirements.txt
	.venv-handbook/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

docs: $(VENV)/ready                     ## regenerate the generated pages and the schemas
	$(BIN)/python docs/generate.py

# The lock holds names, versions and hashes for every supported Python; regenerate it after a change of dependencies.
lock:
	$(PYTHON) -m venv $(VENV) && $(PIP) uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  --extra kafka --extra kinesis --extra pandas --extra polars --extra postgres --extra s3 --group dev --output-file requirements.lock pyproject.toml
	printf '%s\n' 'pyspark>=4.1,<5' grpcio grpcio-status googleapis-common-protos zstandard | $(BIN)/uv pip compile --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --output-file requirements-spark.lock -

# uv installs the lock in a third of the time of pip, which is left to do it where uv or its index is out of reach. Bytecode is compiled
# on all cores, of what is imported.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	{ sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(PIP) --require-hashes --requirement /dev/stdin && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock; } || \
	  $(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q -j 2 -x '/tests/|site-packages/(moto|mypy|mypyc|pip|pkg_resources|pygments|setuptools)/' $(VENV)/lib src
	touch $@

clean:
	rm -rf $(VENV) .venv-peers .venv-spark .venv-recipes .venv-handbook .services demo .bench
