# The one door: set-up, checks, tests, demo. Each target does the set-up it needs.

VENV ?= .venv
DONE := $(VENV)/.installed
LOWEST = $(subst $(VENV),.venv-lowest,$(BIN))
PYSIDE = $(subst $(VENV),.venv-pyside,$(BIN))
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN    := $(VENV)/Scripts
else
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := $(VENV)/bin
endif

# What a window needs on a bare Debian 12 (and python3-venv, which Debian splits off).
SYSTEM := xvfb xauth libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
          libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
          libdbus-1-3 libfontconfig1 libglib2.0-0

export HF_HUB_OFFLINE ?= 1
export QT_API ?= pyqt6
export NO_MKDOCS_2_WARNING ?= 1

# Tests run in this many processes, each with one thread.
WORKERS  ?= 2
PARALLEL := --numprocesses $(WORKERS) --dist worksteal
export OMP_NUM_THREADS ?= 1

.PHONY: help setup system lint docs shots test demo format lowest pyside package clean

help:
	@echo "make demo    the whole loop on real and drawn tissue, with pictures (demo/)"
	@echo "make test    every test"
	@echo "make lint    format, lint, types, manifest, documentation"
	@echo "make docs    the documentation's site, in site/; open site/index.html"
	@echo "make shots   the documentation's pictures, from the real widgets (about ten minutes)"
	@echo "make format  put format and imports right"
	@echo "make lowest  every test, with the oldest dependencies that pyproject.toml allows"
	@echo "make pyside  the plugin's tests under PySide6 instead of PyQt6"
	@echo "make package sdist and wheel in dist/; the unpacked sdist runs its own tests"
	@echo "make setup   virtual environment in $(VENV)"

system:
	@sh tools/system-libraries.sh $(PYTHON) $(SYSTEM)

setup: $(DONE)

$(DONE): pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

lint: $(DONE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/npe2 validate napari_unisemalign/napari.yaml
	$(BIN)/mkdocs build --strict --quiet

docs: $(DONE)
	$(BIN)/mkdocs build --strict

# The pictures of the dock and of the tour. Where there is no display, xvfb makes one.
SCREEN = $(if $(DISPLAY)$(WAYLAND_DISPLAY),,xvfb-run -a -s "-screen 0 1600x1100x24")
shots: $(DONE) system
	$(SCREEN) $(BIN)/python docs/screenshots.py
	$(SCREEN) $(BIN)/python docs/tour.py

format: $(DONE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(DONE) system
	$(BIN)/python -m pytest $(PARALLEL) tests/engine tests/test_demo.py
	$(BIN)/python -m pytest $(PARALLEL) tests/plugin # processes of their own, free of torch

# Direct dependencies as old as allowed; the tools that test them may be new.
lowest: | system
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct --editable ".[all,cluster]"
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --editable ".[dev]"
	@touch .venv-lowest/.installed
	$(MAKE) test VENV=.venv-lowest

# The plugin's tests with the other Qt binding. PySide6 6.12 ends the process after some thousand
# events: it gives None back once too often ("deallocating None").
pyside: | system
	$(PYTHON) -m venv .venv-pyside
	$(PYSIDE)/python -m pip install --quiet --constraint constraints.txt --editable ".[napari,test]" "pyside6-essentials<6.11"
	QT_API=pyside6 $(PYSIDE)/python -m pytest -o qt_api=pyside6 $(PARALLEL) tests/plugin

# The unpacked sdist finds every test, and those that read the repository's other files pass.
UNPACKED := build/unpacked
package: $(DONE)
	rm -rf dist $(UNPACKED)
	$(BIN)/python -m build --outdir dist .
	mkdir -p $(UNPACKED)
	tar -xzf dist/*.tar.gz -C $(UNPACKED) --strip-components 1
	cd $(UNPACKED) && export PYTHONPATH=$(abspath $(UNPACKED)/engine):$(abspath $(UNPACKED)) && \
	  $(abspath $(BIN))/python -m pytest -q --collect-only tests/engine tests/test_demo.py >/dev/null && \
	  $(abspath $(BIN))/python -m pytest -q tests/engine/test_[fgp-s]*.py tests/engine/weights

demo: $(DONE) system
	$(BIN)/python demo/demo.py

clean:
	rm -rf $(VENV) .venv-lowest .venv-pyside build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
