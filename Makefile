# All that is needed is Python 3.10 or newer and, the first time, a network to install from.
# `make PYTHON=/path/to/python …` chooses another Python, `make VENV=folder …` another virtual environment,
# `make demo PORT=8000` another port, `make test PYTEST="-k overlay"` some of the tests, `make evaluate DATA=folder` the data.

VENV ?= .venv
PYTHON ?=
PORT ?=
PYTEST ?=
CONSTRAINTS ?=
DATA ?=
PATHS = dfer_hf dfer_cli.py dfer_inputs.py dfer_start.py training tests examples app.py page docs/tools

python := "$(VENV)/bin/python"
quiet_app := GRADIO_ANALYTICS_ENABLED=False
offline := HF_HUB_OFFLINE=1 $(quiet_app)

# Ready when the environment was last installed from the pyproject.toml of today.
app_is_ready := cmp -s pyproject.toml "$(VENV)/.installed-app" && $(python) -c ""
all_is_ready := cmp -s pyproject.toml "$(VENV)/.installed-all" && $(python) -c ""

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest slow check style evaluate cards setup setup-app wheel clean

help:
	@echo "make demo    set up, then start the app and print its address"
	@echo "make test    set up, then run the tests that need no GPU and no patience"
	@echo "make test-oldest    the same tests with the oldest versions allowed, in an environment of their own"
	@echo "make slow    the other tests that need no GPU"
	@echo "make check   lint, format, import contracts, types"
	@echo "make style   fix what ruff can fix by itself"
	@echo "make evaluate DATA=folder    measure every shipped checkpoint, and put the figures into cards and manual"
	@echo "make cards   render cards, tables, diagrams and reference of the manual"
	@echo "make setup   set up for development in $(VENV)"
	@echo "make wheel   build a wheel into dist/"
	@echo "make clean   remove $(VENV) and what was built"

demo: setup-app
	$(quiet_app) $(python) app.py $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),--open) $(if $(PORT),--port $(PORT))

test: setup
	$(offline) $(python) -m pytest -m "not slow and not gpu" $(PYTEST)

# "torch>=2.8" becomes torch==2.8.*; what names no oldest version is whatever goes with the rest.
test-oldest:
	@mkdir -p build
	@sed -nE 's/.*"([a-zA-Z0-9-]+)(\[[a-z]+\])?>=([0-9.]+).*/\1==\3.*/p' pyproject.toml > build/oldest.txt
	@$(MAKE) --no-print-directory test VENV=.venv-oldest CONSTRAINTS=build/oldest.txt

slow: setup
	$(offline) $(python) -m pytest -m "slow and not gpu" $(PYTEST)

# Gradio writes the .pyi beside its users, and they are soon out of date.
check: setup
	@rm -f app.pyi page/*.pyi
	$(python) -m ruff check $(PATHS)
	$(python) -m ruff format --check $(PATHS)
	"$(VENV)/bin/lint-imports" --no-cache
	$(python) -m pyright

style: setup
	$(python) -m ruff check --fix $(PATHS)
	$(python) -m ruff format $(PATHS)

evaluate: setup
	@test -d "$(DATA)" || { \
		echo "NoDataError: expected a folder that holds ferplus, muxspace and london, got '$(DATA)'." \
			"Name it: make evaluate DATA=/path/to/data" >&2; exit 1; }
	$(offline) $(python) -m training.release.evaluate_all --data-root "$(DATA)"
	@$(MAKE) --no-print-directory cards

cards: setup
	$(python) -c "from pathlib import Path; from dfer_hf.hub.card import refresh_cards; refresh_cards(Path('.'))"
	$(python) -m training.papers.published docs/published.md
	$(python) docs/tools/draw_figures.py
	$(python) docs/tools/reference.py

wheel: setup
	$(python) -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

setup:
	@$(all_is_ready) || { $(create_environment) && \
		$(python) -m pip install $(if $(CONSTRAINTS),--constraint "$(CONSTRAINTS)") --editable ".[app,train,dev]" && \
		cp pyproject.toml "$(VENV)/.installed-app" && cp pyproject.toml "$(VENV)/.installed-all"; }

setup-app:
	@$(app_is_ready) || { $(create_environment) && \
		$(python) -m pip install --editable ".[app]" && \
		cp pyproject.toml "$(VENV)/.installed-app"; }

clean:
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .ruff_cache

# A name on the path may be no Python at all, or one without what makes environments, so each is tried.
candidates := python3 python3.13 python3.12 python3.11 python3.10 python python3.14
is_suitable := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))

define create_environment
{ $(python) -c "" 2>/dev/null || { \
	found=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",$(candidates)); do \
		if "$$candidate" -c '$(is_suitable)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "NoSuitablePython: expected Python 3.10 or newer with its venv module as one of:" \
			"$(if $(PYTHON),$(PYTHON),$(candidates)). Install it (on Debian and Ubuntu also python3-venv)," \
			"or name one: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$found; the first time this downloads some gigabytes."; \
	"$$found" -m venv --clear "$(VENV)"; \
}; }
endef
