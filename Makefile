# Every target builds what it needs from nothing: Rust (https://rustup.rs) and Python 3.11 or newer
# are all that a machine must have.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements
# A process for each core, up to four: beyond that, memory is what tests lack.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-rust test-python bench lint docs pictures wheel lock clean environment native-quick native-release

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: native-release  ## Make synthetic embeddings, fit, score, compare with the paper
	$(BIN)/clipsoid demo

test: test-rust test-python  ## Run every test: Rust, then Python
	@echo "all tests passed"

test-rust:
	cargo test --locked

test-python: native-quick $(VENV)/test.stamp
	$(PYTEST)

test-long: native-quick $(VENV)/test.stamp  ## Run the long fuzz and kill loops too
	PROPTEST_CASES=20000 cargo test --locked
	CLIPSOID_LONG=1 $(PYTEST)

lint: native-quick $(VENV)/test.stamp  ## Check formats, lints, types and stubs
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --features python -- -D warnings
	cargo clippy --locked --features bench --benches -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/python -m mypy.stubtest clipsoid._native

docs: native-quick $(VENV)/docs.stamp  ## Build the documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: native-release $(VENV)/bench.stamp  ## Measure speed against peers and limits, in one run
	$(BIN)/python benches/table.py

pictures: native-release $(VENV)/test.stamp  ## Make the README's pictures anew (needs chromium)
	$(BIN)/python docs/pictures.py

wheel: $(VENV)/build.stamp  ## Build the wheel for this platform into dist/
	$(BIN)/maturin build --release --locked --out dist

lock: | $(VENV)/bin/python  ## Renew the lock files
	cargo update
	$(BIN)/python -m pip install -q uv
	for group in build test docs bench; do \
		$(BIN)/uv pip compile -q --upgrade --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
			--group $$group pyproject.toml -o $(LOCKS)/$$group.txt || exit 1; done

clean:  ## Remove everything that was built
	rm -rf target dist build demo bench-results docs/_build $(VENV) python/clipsoid/*.so

# One environment for everything; each stamp is a lock file that has been installed.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: $(LOCKS)/%.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -r $<
	touch $@

environment: $(VENV)/build.stamp $(VENV)/test.stamp $(VENV)/docs.stamp

# The package itself, editable: the same optimisation for tests, without link-time passes.
native-quick: $(VENV)/build.stamp
	$(BIN)/maturin develop -q --locked --profile quick

native-release: $(VENV)/build.stamp
	$(BIN)/maturin develop -q --locked --release
