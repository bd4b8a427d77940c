# Reproduce Auto-Encoding Variational Bayes. `make help` lists the targets.

PYTHON ?= python3
# Samples of every run; or quick: 1e6 in Figure 2, fewer in Figure 3; or paper: the paper's axes.
BUDGET ?= quick
SEED   ?= 0
# A launcher in front of every training run, in which %% stands for the run's name, for example
# LAUNCH="srun --ntasks=1 --cpus-per-task=1 --job-name=%%".
LAUNCH ?=
# Training runs at a time, where make is called without -j: one a core that it may use, each of one
# thread. nproc knows of an allocation; macOS lacks it.
JOBS   ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

# Files of packages, installed one after the other. requirements.lock has the digest of every file
# that may be installed; requirements.txt adds PyTorch, in the build that this machine's pip finds.
REQUIREMENTS ?= requirements.lock requirements.txt

# How often make torture kills a run, and how many wrong inputs it tries.
KILLS ?= 300
CASES ?= 1000

# A directory with data files of your own, looked at before anything is downloaded.
AEVB_DATA ?=
export AEVB_DATA

# One run is one thread: several runs side by side use the cores better than one run on all.
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
# Large pages make an update 2 % faster, 9 % with bfloat16 products; only glibc looks at this.
export GLIBC_TUNABLES = glibc.malloc.hugetlb=1

# The active conda environment where it has aevb, as that of environment.yml does; else one of our
# own, which is made anew when its packages change.
CONDA     := $(if $(CONDA_PREFIX),$(wildcard $(CONDA_PREFIX)/bin/aevb))
BIN       := $(or $(patsubst %/aevb,%,$(CONDA)),.venv/bin)
READY     := $(or $(CONDA),$(BIN)/.ready)
AEVB      := $(BIN)/aevb
CHAPTERS  := $(wildcard book/chapters/*.md)
# With AEVB_LOCAL set to a seed, as reproduce does, chapters also show the runs of this machine.
# They are then executed aside, and the book is built with them in the place of the published ones.
PAGES     := $(if $(AEVB_LOCAL),results/local/notebooks,book/notebooks)
NOTEBOOKS := $(CHAPTERS:book/chapters/%.md=$(PAGES)/%.ipynb)
LIBRARY   := $(shell find src/aevb -name '*.py')
PARALLEL   = $(if $(findstring jobserver,$(MAKEFLAGS))$(filter -j1,$(MAKEFLAGS)),,-j$(JOBS))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help reproduce env lock audit dist data train chapters figures book pdf compare publish \
        archive test test-book test-library test-browser lint torture mutants cluster links bench clean

help: ## list the targets
	@echo "make reproduce               everything: data, 24 training runs, chapters, figures, book"
	@echo "make reproduce BUDGET=1e7    continue those runs to 10 million samples (or BUDGET=paper)"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo "Variables: BUDGET=$(BUDGET) SEED=$(SEED) JOBS=$(JOBS) PYTHON=$(PYTHON) LAUNCH=$(LAUNCH)"
	@echo "           AEVB_DATA=$(AEVB_DATA)"

reproduce: train ## all of it, from nothing to the book
	+@$(MAKE) --no-print-directory figures
	+@AEVB_LOCAL=$(SEED) $(MAKE) --no-print-directory chapters
	+@AEVB_LOCAL=$(SEED) $(MAKE) --no-print-directory book
	@$(AEVB) compare --budget $(BUDGET) --seed $(SEED) --receipt

env: $(READY) ## create the Python environment in .venv

.venv/bin/.ready: $(REQUIREMENTS) pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is %d.%d: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv .venv
	for file in $(REQUIREMENTS); do $(BIN)/python -m pip install --quiet -r $$file || exit 1; done
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Hashes of every file of every release, so the result is the same on every machine. What only
# PyTorch needs, CUDA among it, is apart: its build for the processor alone is from another place.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-annotate --no-header --upgrade

lock: $(READY) ## pin all that requirements.txt needs, with hashes
	$(BIN)/python -m pip install --quiet uv==0.13.9
	grep -v '^torch' requirements.txt | $(COMPILE) - -o requirements.lock > /dev/null
	$(COMPILE) requirements.txt -c requirements.lock -o requirements-torch.lock > /dev/null \
	    $$(sed -n 's/^\([^ ]*\)==.*/--no-emit-package \1/p' requirements.lock)

audit: $(READY) ## ask PyPI for known weaknesses of the pinned packages
	$(BIN)/python -m pip install --quiet pip-audit==2.10.1
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r requirements.lock -r requirements-torch.lock

dist: $(READY) ## build the wheel and the sdist, the same bytes from the same commit
	mkdir -p dist
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -c \
	    'from flit_core import buildapi as b; b.build_wheel("dist"); b.build_sdist("dist")'

data: $(READY) ## get and verify MNIST and Frey Face
	$(AEVB) data

# The names of the runs are known once there is an environment, so training is a make of its own. A
# run that fails, or a job that is cancelled, does not stop the others; it fails the whole in the end.
train: data ## train the runs of Figures 2 and 3 to BUDGET samples
	+@runs="$$($(AEVB) runs --seed $(SEED) --available --short-of $(BUDGET))" && \
	if [ -n "$$runs" ]; then \
	    $(MAKE) --no-print-directory -k $(PARALLEL) $$(printf 'run-%s ' $$runs); \
	fi
ifdef LAUNCH
# srun ends as if all were well where a node was lost.
	@left="$$($(AEVB) runs --seed $(SEED) --available --short-of $(BUDGET))"; \
	[ -z "$$left" ] || { echo "not at $(BUDGET) samples yet:" $$left >&2; exit 1; }
endif

# No file is called so: what was asked for is run.
run-%:
	$(subst %%,$*,$(LAUNCH)) $(AEVB) run $* --budget $(BUDGET)

# What is asked for in one call is done in this order, with -j too.
figures: | $(filter train,$(MAKECMDGOALS))
book: | $(filter chapters figures pdf,$(MAKECMDGOALS))

figures: $(READY) ## draw every figure from the curve files
	$(AEVB) figures

chapters: $(NOTEBOOKS) ## execute the chapters that are out of date

$(PAGES)/%.ipynb: book/chapters/%.md $(LIBRARY) | $(READY)
	$(BIN)/python book/build.py execute $< $@

$(NOTEBOOKS): $(wildcard $(addprefix results/,paper/* curves/*/* models/*/* reestimates/* clinic/* packages/* older/* reliability/* benchmarks/*/*))
ifdef AEVB_LOCAL
$(PAGES)/figure2.ipynb $(PAGES)/figure3.ipynb: $(wildcard results/local/curves/*/*)
endif

book: $(READY) ## build the HTML book from what is there, without training
	$(BIN)/python book/build.py html --notebooks $(PAGES)

pdf: $(READY) ## build the book as a PDF, which the HTML book built after it offers
	$(BIN)/python book/build.py pdf

compare: $(READY) ## print our bounds beside the paper's
	@$(AEVB) compare --budget $(BUDGET) --seed $(SEED)

publish: $(READY) ## copy local curves and models over published ones, and draw the figures
	$(AEVB) publish figure2 figure3
	$(AEVB) reference
	$(AEVB) figures --published

archive: $(READY) ## write the published results as one zip, to deposit and cite
	$(AEVB) archive

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two at a time take half as long, the longest first. All that starts kernels of notebooks is in
# test-book, since two kernels that start at once may ask for the same port.
test: $(READY) lint ## pass every test: style, types, mathematics, runs, book
	+@$(MAKE) --no-print-directory -kj2 $(if $(filter output-sync,$(.FEATURES)),-O) test-book test-library test-browser

IN_BROWSER = tests/test_browser.py tests/test_explorer.py tests/test_autoencoder_page.py \
             tests/test_figure2_page.py tests/test_training_page.py

test-book:
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env tests/test_book.py book/notebooks

test-library:
	$(BIN)/python -m pytest tests $(patsubst %,--ignore=%,tests/test_book.py $(IN_BROWSER))

test-browser:
	$(BIN)/python -m pytest $(IN_BROWSER)

torture: $(READY) ## kill runs by the hundred and try wrong input by the thousand
	$(BIN)/python tests/reliability/torture.py --kills $(KILLS) --cases $(CASES)

mutants: $(READY) ## change the source in many ways, each of which some test should notice
	$(BIN)/python tests/reliability/mutants.py

cluster: $(READY) ## train over a Slurm of two nodes on this machine, of which one is lost
	$(BIN)/python tests/reliability/cluster.py

# The book, then the pages that are not in it. A publisher may refuse a program what it gives a reader.
links: $(READY) ## check the links to other sites; `make test` checks those within
	@status=0; \
	$(BIN)/jupyter-book build book --builder linkcheck --path-output book/_build/links -q || status=1; \
	$(BIN)/python -m sphinx -q -b linkcheck -C -D extensions=myst_parser -D root_doc=README \
	    -D include_patterns=README.md,CONTRIBUTING.md,results/README.md,results/paper/README.md \
	    . book/_build/links/pages || status=1; \
	exit $$status

bench: $(READY) ## measure speed against the floor and against other packages
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/runs.py

clean: ## remove what was built; data, environment and results stay
	rm -rf book/_build build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
