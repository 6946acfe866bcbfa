PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: install test quick lint

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-demo.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

test: install lint
	$(RUN) -m pytest

quick: install
	$(RUN) -m pytest -m "not slow"

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
