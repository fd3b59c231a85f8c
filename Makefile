# The two commands: `make demo` and `make test`. Both install what they need into .venv, the demo the product alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TESTS := $(VENV)/installed-tests
# uv is faster, but knows nothing of pip's settings: it is told of the environment's, and where it fails pip goes on.
PINNED := --quiet --constraint constraints.txt --editable
UV := $(shell command -v uv 2>/dev/null)
UV_SETTINGS := $(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}") \
  $(if $(PIP_EXTRA_INDEX_URL),UV_INDEX="$${UV_INDEX:-$$PIP_EXTRA_INDEX_URL}") \
  $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}")
install = $(if $(UV),$(UV_SETTINGS) $(UV) pip install --python $(BIN)/python $(PINNED) $(1) ||) \
  $(BIN)/python -m pip install $(PINNED) $(1)
DEMO_DIR ?= demo
PYTEST := $(BIN)/python -m pytest
FIGURES := $(VENV)/figures.jsonl

.PHONY: demo test test-fast soak check install docs screenshots bench clean

demo: $(STAMP)  ## the built-in project to a printed verdict and an HTML report
	$(BIN)/assay demo $(DEMO_DIR)

test: check  ## checks and all tests, seeded and small; one thread for each of two workers
	OMP_NUM_THREADS=1 $(PYTEST) -m "not soak" -n 2 --dist loadfile

test-fast: $(TESTS)  ## the loop: nothing that loads a model
	$(PYTEST) -m "not soak and not slow" -q -x

soak: $(TESTS)  ## the long counts; writes its figures to docs/
	rm -f $(FIGURES)
	HYPOTHESIS_PROFILE=random ASSAY_FIGURES=$(FIGURES) $(PYTEST) -m soak --timeout 7200; \
	  passed=$$?; $(BIN)/python -m tests.figures $(FIGURES) && exit $$passed

check: $(TESTS)  ## style, types, floors and walls
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.source_rules

docs: $(TESTS)  ## the generated reference
	$(BIN)/python -m tests.reference

screenshots: $(TESTS)  ## one picture of every page of the studio, into docs/screenshots
	$(BIN)/python -m tests.studio.screenshots

bench: $(TESTS)  ## side by side with peers
	$(BIN)/python bench/generate.py

install: $(TESTS)  ## .venv with the assay command, test dependencies and the starter models

$(STAMP): pyproject.toml constraints.txt  # the product, and the starter models
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assay needs Python 3.11 or newer, such as: make PYTHON=python3.12 demo")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(call install,.)
	$(BIN)/assay models pull smollm2-135m-instruct
	$(BIN)/assay models pull all-minilm-l6-v2
	touch $(STAMP)

$(TESTS): $(STAMP)  # what tests, checks and benches need beside it
	$(call install,'.[test]')
	touch $(TESTS)

clean:  ## the installed environment and the demo
	rm -rf $(VENV) $(DEMO_DIR)
