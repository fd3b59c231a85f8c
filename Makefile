# The two commands: `make demo` and `make test`. Both install what they need into .venv, the demo the product alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TESTS := $(VENV)/installed-tests
# uv is faster, but knows nothing of pip's settings: where these name or forbid an index, and where uv fails, pip installs.
PIP := $(BIN)/python -m pip
PINNED := --quiet --constraint constraints.txt --editable
UV := $(shell command -v uv 2>/dev/null)
UV_MAY := set=$$(PIP_QUIET=0 $(PIP) config list) && ! echo "$$set" | grep -Eq '(index|index-url|find-links)='
# Whatever happens to an installation, the last words are a sentence that says what to do.
TRAP := trap 'echo "assay: stopped. Run the same command again to continue." >&2; exit 130' INT;
FAILED := { echo "assay: not everything could be installed; the lines above say why. Without a network, or \
with a full disk: mend that, then run the same command again." >&2; exit 1; }
install = $(TRAP) $(if $(UV),{ $(UV_MAY) && $(UV) pip install --python $(BIN)/python $(PINNED) $(1); } ||) \
  $(PIP) install $(PINNED) $(1) || $(FAILED)
DEMO_DIR ?= demo
PYTEST := $(BIN)/python -m pytest
FIGURES := $(VENV)/figures.jsonl
# The server of S3 in the tests needs an older python-dateutil than Assay's environment has.
MOTO := .venv-moto
# Other people's clients, in environments without Assay: no one resolution holds them (docs/compat.md).
CLIENTS ?= .venv-compat
CLIENT_SETS := $(notdir $(basename $(wildcard tests/compat/requirements/*.txt)))

.PHONY: demo test test-fast soak compat logs check install docs screenshots recording bench clean

demo: $(STAMP)  ## the built-in project to a printed verdict and an HTML report
	$(BIN)/assay demo $(DEMO_DIR)

# Python starts some hundred times in them; without bytecode each start compiles all of src. Threads
# that wait for each other sleep: those of another worker need the processor.
test: check  ## checks and all tests, seeded and small; three workers, for each waits half of its time
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(PYTEST) -m "not soak" \
	  -n 3 --dist loadfile --no-loadscope-reorder

test-fast: $(TESTS)  ## the loop: nothing that loads a model
	$(PYTEST) -m "not soak and not slow" -q -x

soak: $(TESTS)  ## the long counts; writes its figures to docs/
	rm -f $(FIGURES)
	HYPOTHESIS_PROFILE=random ASSAY_FIGURES=$(FIGURES) $(PYTEST) -m soak --timeout 7200; \
	  passed=$$?; $(BIN)/python -m tests.figures $(FIGURES) && exit $$passed

compat: $(TESTS) $(CLIENT_SETS:%=$(CLIENTS)/%/installed)  ## other people's clients against a server; writes docs/compat.md
	$(BIN)/python -m tests.compat --clients $(CLIENTS)

logs: $(TESTS) $(CLIENTS)/litellm/installed $(CLIENTS)/logs/installed $(CLIENTS)/promptfoo/installed  ## logs of other programs, written anew for the tests that read them
	$(BIN)/python -m tests.compat.logs --clients $(CLIENTS)

define install-alone
@$(TRAP) { $(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --requirement $<; } || $(FAILED)
touch $@
endef

$(CLIENTS)/%/installed: tests/compat/requirements/%.txt
	$(install-alone)

$(CLIENTS)/logs/installed: tests/compat/logs/requirements.txt
	$(install-alone)

$(MOTO)/installed: tests/moto-requirements.txt
	$(install-alone)

$(CLIENTS)/promptfoo/installed: tests/compat/logs/package.json  # needs npm
	@$(TRAP) mkdir -p $(@D) && cp $< $(@D) && { npm install --prefix $(@D) --omit=optional --no-audit --no-fund --silent; } || $(FAILED)
	touch $@

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

recording: $(TESTS)  ## the README's recording of a terminal, into docs
	$(BIN)/python -m tests.recording

bench: $(TESTS)  ## side by side with peers
	$(BIN)/python bench/generate.py

install: $(TESTS)  ## .venv with the assay command, test dependencies and the starter models

$(STAMP): pyproject.toml constraints.txt  # the product, and the starter models
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assay needs Python 3.11 or newer, such as: make PYTHON=python3.12 demo")'
	@$(TRAP) $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(call install,.)
	$(BIN)/assay models pull smollm2-135m-instruct
	$(BIN)/assay models pull all-minilm-l6-v2
	touch $(STAMP)

$(TESTS): $(STAMP) $(MOTO)/installed  # what tests, checks and benches need beside it
	@$(call install,'.[test]')
	touch $(TESTS)

clean:  ## the installed environment and the demo
	rm -rf $(VENV) $(MOTO) $(CLIENTS) $(DEMO_DIR)
