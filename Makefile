# `make demo` and `make test` set up what they need; both can be run again and again.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BUNDLE := build/default.pcbundle
THREADS := 2

.PHONY: setup reference demo teacher-demo test every-target lint bundle wheels parity-arm64 android swift clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

bundle: setup
	@$(BIN)/pocketcrafter build --out $(BUNDLE)

demo: bundle
	@mkdir -p build/demo
	@$(BIN)/pocketcrafter enhance tests/photos --out build/demo --bundle $(BUNDLE) --sheet build/demo/sheet.jpg --threads $(THREADS)
	@echo "before/after sheet: build/demo/sheet.jpg"
	@echo "parity report:      $(BUNDLE)/reports/parity.md"

# docs/camera-team.md on tiny networks: some ten minutes on two cores.
teacher-demo: setup
	@$(BIN)/python tests/export/teachers/demo.py --out build/teacher-demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What one test compares with; without it, that test is skipped.
reference: setup
	@[ -d $(VENV)/reference/diffsynth ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/reference --requirement tests/reference.txt

test: lint
	-@$(MAKE) --no-print-directory reference
	$(BIN)/python -m pytest -n 2

# The whole matrix of a latent pair's classes and targets: some forty minutes on two cores.
every-target: setup
	$(BIN)/python -m pytest -n 2 -m every_target tests/export/families/latent

# Setuptools packs whatever an earlier build left in its folders.
wheels: setup
	rm -rf build/lib export/weights/build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . ./export/weights

# Needs root the first time, and: apt-get install qemu-user-static debootstrap g++-aarch64-linux-gnu cmake
parity-arm64: setup
	@$(BIN)/pocketcrafter bench arm64 $(BUNDLE)

# Needs a JDK, npm, g++ and: apt-get install junit4 aapt apksigner android-framework-res
android: bundle
	@$(BIN)/python android_demo/build.py test --bundle $(BUNDLE)
	@$(BIN)/python android_demo/build.py apk --bundle $(BUNDLE)
	@$(BIN)/pocketcrafter shippable build/android/pocketcrafter-demo.apk --allow signature

# Needs root and, the first time, 3.5 GB and: apt-get install debootstrap
swift: bundle
	@$(BIN)/python ios_demo/build.py --bundle $(BUNDLE)

clean:
	rm -rf build $(VENV)
