# Everything happens in .venv; each step is done once and again only when what it depends on has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESULTS := build/benchmark
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := setup.py pyproject.toml $(wildcard ortx/*.pyx ortx/*.pxd ortx/_core.src/* ortx/include/*)

.DEFAULT_GOAL := test
.PHONY: demo test bench bench-growth bench-options bench-loading leaks publish instructions lint stubs
.PHONY: sanitize valgrind fuzz clean

demo: $(VENV)/with-demo ## build, install, and identify the files of this repository
	$(BIN)/python examples/identify_files.py .

test: $(VENV)/with-test ## build, install, and run the whole suite
	$(BIN)/python -m pytest

bench: $(VENV)/with-bench ## measure against the C floor and the official package
	$(BIN)/python -m benchmarks --json $(RESULTS)/result.json --plot $(RESULTS)/result.svg

bench-growth: $(VENV)/with-bench ## how a call's cost grows with inputs, outputs, sizes, threads, sessions
	$(BIN)/python -m benchmarks.growth --json $(RESULTS)/growth.json --plot $(RESULTS)/growth.svg

bench-options: $(VENV)/with-bench ## what each option and preset is worth; written into docs/tuning.md
	$(BIN)/python -m benchmarks.options --write-docs

bench-loading: $(VENV)/with-bench ## memory that loading a model of 500 MB takes; written into docs/memory.md
	$(BIN)/python -m benchmarks.loading --write-docs

leaks: $(VENV)/with-test ## a million runs of each way of running; memory has to stay what it was; an hour and more
	$(BIN)/python -m benchmarks.leaks --runs 1000000 --json $(RESULTS)/leaks.json

publish: $(VENV)/with-bench ## write what these two have measured into the README and docs/performance.md
	$(BIN)/python -m benchmarks.publish $(RESULTS)/result.json --growth $(RESULTS)/growth.json

instructions: $(VENV)/with-bench ## count the instructions of a call, and compare them with the record (needs valgrind)
	$(BIN)/python -m benchmarks.instructions

lint: $(VENV)/with-test ## linters, compiler warnings, types, stubs; part of the suite, too
	$(BIN)/python -m pytest tests/test_static_checks.py

sanitize: $(VENV)/with-test ## the suite under ASan and UBSan, a short session under LSan: a build of its own; takes long
	$(BIN)/python -m tools.memcheck suite
	$(BIN)/python -m tools.memcheck leaks
	$(BIN)/python -m pytest tests/test_memcheck.py

valgrind: $(VENV)/with-test ## a short session under valgrind, and a wrong one
	$(BIN)/python -m tools.memcheck valgrind
	ORTX_VALGRIND=1 $(BIN)/python -m pytest tests/test_memcheck.py -k valgrind

fuzz: $(VENV)/with-test ## FUZZ_SECONDS=600: how long; FUZZ_SEED: where it begins
	$(BIN)/python -m pytest -o faulthandler_timeout=3600 tests/fuzz

stubs: $(VENV)/with-test ## write ortx/_core.pyi anew from the built module
	$(BIN)/python -m tools.make_stubs

clean:
	rm -rf $(VENV) build dist *.egg-info ortx/*.so

# A build environment of our own, so that a change of one source file does not install Cython and numpy again.
$(VENV)/built: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1' 'setuptools>=77' 'Cython>=3.1' 'numpy>=2'
	$(PIP) install --no-build-isolation --editable '.[cpu]'
	touch $@

$(VENV)/with-demo: $(VENV)/built
	$(PIP) install --no-build-isolation --editable '.[cpu,demo]'
	touch $@

$(VENV)/with-%: $(VENV)/built
	$(PIP) install --group $*
	touch $@
