# Everything that can be done with this checkout. `make help` lists it; `make run` and `make test` are all
# that a fresh machine needs: Python >= 3.11 and make. PYTHON=... chooses the Python.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
PEERS := .venv-peers
SIZES := .venv-size
MINUTES ?= 3
ROWS ?= 20000000
EXAMPLE ?= departures
# One more than there are processors, because tests often wait for other processes.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# The files of tests that run alone: only they are collected, because all take ten seconds.
ALONE = $(shell grep -rl --include='test_*.py' mark.alone tests)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

# What the environment is made from: it is made anew when one of these changes, or the folder moves.
SOURCES := pyproject.toml setup.py tools/environment.sh $(wildcard forge_min/_fanout*.p[yx][xdi])
STAMP := $(VENV)/.made-$(shell { pwd; cat $(SOURCES); } | cksum | cut -d' ' -f1)
PAGES := $(VENV)/.pages
READY := $(STAMP) $(PAGES)
MANUAL := forge_min/_manual/index.html

.PHONY: help run notes test failover thorough system lint types check docs pictures install bench bigtables wrk size fuzz storm mutate mutate-checks soak sanitize clean dist elsewhere image-test

help:  ## this list
	@sed -n 's/^##@ /|/p; s/^\([a-z-]*\):[^#]*## /\1|/p' Makefile | \
	awk -F'|' '$$1 == "" { printf "\n%s\n", $$2; next } { printf "  make %-10s  %s\n", $$1, $$2 }'

##@ Use

install: $(READY) $(MANUAL)  ## create the virtual environment .venv, with the compiled core if there is a compiler, and render the manual

run: $(READY)  ## build an example, serve it and load its data; EXAMPLE=permits: the other one; SMOKE=1: check it and exit
	@$(PY) examples/$(EXAMPLE)/run.py $(if $(filter-out 0,$(SMOKE)),--smoke)

notes: $(READY)  ## serve examples/notes, the smallest application
	@$(PY) -m forge_min --project examples/notes dev

clean:  ## remove everything that these commands created, also the environments and the data of the example
	@rm -rf build dist .run $(VENV) $(PEERS) $(SIZES) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -rf *.egg-info examples/*/dist forge_min/_fanout*.so forge_min/*/templates/[a-z]*.py forge_min/_manual
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Test

test: system lint types check  ## lint, types and tests, in minutes; FORGE_REQUIRE_ALL=1: a skip is a failure; WORKERS=n

system:
	@[ "$(FORGE_REQUIRE_ALL)" != 1 ] || tools/system.sh

lint: $(READY)  ## run ruff: rules and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(READY)
	@$(PY) -m mypy

check: $(READY) $(MANUAL)
	@$(PY) -m pytest -n $(WORKERS) -m "not alone and not long and not image and not failover and not thorough"
	@$(PY) -m pytest -m "alone and not thorough" $(ALONE)

thorough: system $(READY) $(MANUAL)  ## slow tests, and tests on older PostgreSQL: killed servers, whole sites, browsers
	@$(PY) -m pytest -n $(WORKERS) -m "thorough and not alone and not long and not image and not failover"
	@$(PY) -m pytest -m "thorough and alone" $(ALONE)

failover: $(READY)  ## kill, freeze and exchange the primary of a cluster under Patroni, under load
	@tools/system.sh patroni python3-etcd python3-dnspython etcd-server postgresql
	@$(PY) -m pytest -n 2 -p no:randomly -m failover -rP tests/failover

fuzz: $(READY)  ## run property tests with many more examples, generated requests, and random bytes
	@$(PY) -m pytest -m hypothesis --hypothesis-profile=fuzz
	@FORGE_EXAMPLES=40 $(PY) -m pytest -m long
	@$(PY) tests/wsgi/fuzz_framing.py --executions 10000000

storm: $(READY)  ## send 10 million random requests to the server: none is stuck, and nothing is left over
	@$(PY) tests/wsgi/storm.py --requests 10000000

mutate: $(READY)  ## remove checks of the request parser one by one: a hostile request must detect each
	@$(PY) tests/wsgi/mutate.py

mutate-checks: $(READY)  ## remove permissions, tenants, claims and limits one by one: a test must notice each
	@$(PY) tests/remove_checks.py

soak: $(READY)  ## kill workers and servers at random for MINUTES=3: no job is lost or run twice without a reason
	@$(PY) tests/jobs/soak.py $(MINUTES)

sanitize: $(READY)  ## run the tests of the compiled core under ASan, UBSan, TSan and valgrind
	@tools/sanitize.sh $(PY)

elsewhere: $(READY) $(MANUAL)  ## test the example from a wheel in an empty environment, and from _vendor/
	@FORGE_ELSEWHERE=1 $(PY) -m pytest tests/ship/test_from_elsewhere.py

image-test: $(READY)  ## test the image of the example with buildah; needs root and a Debian mirror
	@tools/image.sh
	@$(PY) -m pytest -m image tests/ship/image

##@ Write

docs: $(READY)  ## write docs/reference/config.md and errors.md, forge_min/messages.pot, and the manual as HTML in forge_min/_manual/
	@$(PY) docs/reference.py
	@$(PY) tests/test_i18n.py
	@$(MAKE) $(MANUAL)

pictures: $(READY)  ## take the pictures of README.md from the example; needs chromium with its driver
	@$(PY) tools/pictures.py docs/pictures

##@ Measure

bench: wrk $(READY) $(PEERS)/.made  ## compare speed with other frameworks in the same run
	@$(PY) benchmarks/run.py

bigtables: $(READY)  ## time every kind of list of a table with ROWS=20000000; needs 20 GB below TMPDIR
	@PYTHONPATH=tests $(PY) tests/big_tables.py --rows $(ROWS)

wrk:
	@tools/wrk.sh

size: $(READY) $(SIZES)/.made  ## count the lines of code, beside those of a stack with the same features
	@$(PY) benchmarks/size.py $(SIZES)

##@ Release

dist: $(READY) $(MANUAL)  ## build sdist and wheels into dist/: pure, and for every CPython from 3.11 on
	@FORGE_ABI3=1 $(PY) -m build --outdir dist .
	@FORGE_PURE=1 $(PY) -m build --wheel --outdir dist .

$(STAMP):
	@tools/environment.sh $(VENV) $(STAMP)

# setup.py compiles them for an installation; this follows an edited template.
$(PAGES): $(wildcard forge_min/*/templates/*.html forge_min/pages/*.py) | $(STAMP)
	@$(PY) setup.py -q compile_pages
	@touch $@

# -W: a warning, such as a dead link, is an error.
$(MANUAL): docs/conf.py docs/theme.js $(wildcard docs/*.md docs/*/*.md) | $(STAMP)
	@rm -rf forge_min/_manual
	@$(PY) -m sphinx -q -W --keep-going -d .run/doctrees docs forge_min/_manual

$(PEERS)/.made: benchmarks/requirements-peers.txt | $(STAMP)
	@rm -rf $(PEERS)
	@$(PY) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -q -r benchmarks/requirements-peers.txt
	@touch $@

$(SIZES)/.made: benchmarks/requirements-size.txt | $(STAMP)
	@rm -rf $(SIZES)
	@$(PY) -m venv $(SIZES)
	@$(SIZES)/bin/python -m pip install -q -r benchmarks/requirements-size.txt
	@touch $@
