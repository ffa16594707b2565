# make demo   watch a training survive data that kills stock Ultralytics
# make check  before a commit: ruff, mypy --strict, and the quick tests of rules, numerics, reports and layers
# make test   what must hold in every commit: ruff, mypy, pytest without what is marked slow or matrix (8 minutes on two cores)
# make test-all   all tests (22 minutes), and the scoreboard of the zoo (25)
# make docs   the documentation, in build/docs (30 seconds)
# Each builds .venv first, and is safe to repeat.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := .demo

export YOLO_OFFLINE ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo check style test test-all docs clean

$(STAMP): pyproject.toml scripts/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: Python 3.10 or newer is needed; run: make PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "make: cannot create $(VENV); install Python's venv module (Debian: python3-venv)"; exit 2; }
	@echo "Installing into $(VENV) (the first time takes a minute or two) ..."
	@$(BIN)/python -m pip install -q -c scripts/constraints.txt -e '.[dev,docs]' || \
	  { echo "make: installing failed; see pip's message above, check the network, then run make again"; exit 2; }
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py $(DEMO)

style: $(STAMP)
	@$(BIN)/ruff check . || { echo "make: ruff found something; try: $(BIN)/ruff check --fix ."; exit 1; }
	@$(BIN)/ruff format --check . || { echo "make: not formatted; run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy || { echo "make: the types above do not fit"; exit 1; }

FAST := $(addprefix tests/,linting/test_rules.py linting/test_edges.py linting/test_label_rules.py linting/test_selection.py \
  numerics report guard/test_policy.py guard/test_ladder.py scripts/test_generated.py test_layers.py test_prose.py)

check: WHICH := $(FAST)
check: test
test: style
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(WHICH) || { echo "make: a test failed; repeat one with: $(BIN)/python -m pytest -k NAME"; exit 1; }

test-all: WHICH := --all
test-all: test
	@$(BIN)/python scripts/zoo.py --jobs 2

docs: $(STAMP)
	@$(BIN)/python -m sphinx -W --keep-going -n -q docs build/docs || { echo "make: the documentation does not build; see above"; exit 1; }
	@echo "Open build/docs/index.html"

clean:
	rm -rf $(VENV) $(DEMO) build/docs docs/rules docs/patches docs/commands docs/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis
