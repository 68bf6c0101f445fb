# The one door: set-up, checks, tests, demo. Each target does the set-up it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
DONE   := $(VENV)/.installed

# What a window needs on a bare Debian 12 (and python3-venv, which Debian splits off).
SYSTEM := xvfb xauth libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
          libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
          libdbus-1-3 libfontconfig1 libglib2.0-0

export HF_HUB_OFFLINE ?= 1
export QT_API ?= pyqt6

.PHONY: help setup system lint test demo format clean

help:
	@echo "make demo    the whole loop on real and drawn tissue, with pictures (demo/)"
	@echo "make test    every test"
	@echo "make lint    format, lint, types, manifest"
	@echo "make setup   virtual environment in $(VENV)"

system:
	@sh tools/system-libraries.sh $(PYTHON) $(SYSTEM)

setup: $(DONE)

$(DONE): pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[qt,dev]"
	@touch $@

lint: $(DONE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/npe2 validate napari_unisemalign/napari.yaml

format: $(DONE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(DONE) system
	$(BIN)/python -m pytest tests/engine tests/test_demo.py
	$(BIN)/python -m pytest tests/plugin # a process of its own, free of torch

demo: $(DONE) system
	$(BIN)/python demo/demo.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
