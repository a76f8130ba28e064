.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Of 19,000 modules that are installed some 4,000 are imported: Python compiles these when they are, and keeps them.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXPLORER := $(VENV)/.explorer
# Where the real mission files lie, for `make real` and `make spectra`.
DATA ?= $(or $(CHANDRACLIP_DATA),../shared/data)
# `make align DATASET=FOLDER` trains on that, not on simulated detections; MODALITIES are those that it has.
DATASET ?=
MODALITIES ?= spectrum event text
DATASET_NAME = $(if $(DATASET),$(shell basename "$(DATASET)"),default)
TRAINED_ON = $(or $(DATASET),outputs/data/default)
MODEL ?= $(if $(DATASET),outputs/$(DATASET_NAME)/$(DATASET_NAME),outputs/align)
# Without texts: what both heads know of an observation would tell them which photons belong to which spectrum.
NO_TEXT = --context none
ALIGN = $(if $(DATASET),--dataset "$(DATASET)" --output_dir "$(MODEL)" --modalities $(MODALITIES)) $(if $(filter text,$(MODALITIES)),,$(NO_TEXT))
# A data set of the Hub, or a local copy of one: `make benchmark-real`. STEPS=2 BATCH=8: to see that it runs.
AXIA = astromindinc/axia-csc-corpus
PUBLIC = $(or $(DATASET),$(AXIA))
PUBLIC_NAME = $(shell basename "$(PUBLIC)")
SHORT = $(if $(STEPS),--max_steps $(STEPS) --pretrain_max_steps $(STEPS)) $(if $(BATCH),--batch_size $(BATCH) --pretrain_batch_size $(BATCH))
# What a model and other data give has their name in its path, so that each pair can be made again and compared.
NAME = $(shell basename "$(MODEL)")
REAL = real_$(shell cd "$(DATA)" 2>/dev/null && basename "$$PWD")
EMBEDDINGS = outputs/embeddings/$(NAME)
RESULTS = outputs/results/$(NAME)
TEXT ?= soft, highly variable, ultraluminous
# pytest workers; each runs torch on one thread.
WORKERS ?= 2

.PHONY: help venv align benchmark-real results discovery report explore real spectra test fuzz check style types site wheel oldest format bench gpu clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[dev,docs,text]"
	touch $@

venv: $(INSTALLED)  ## the virtual environment, with the tested set of packages

align: $(INSTALLED)  ## simulate (or DATASET), pre-train, align, embed and evaluate: the main job on the embedded default
	$(RUN)/accelerate launch --config_file accelerate_config.yaml training/align.py $(ALIGN) $(SHORT)
	$(MAKE) --no-print-directory results

results: $(INSTALLED)  ## embed the default dataset (or DATASET) with $(MODEL) and print the tables
	$(RUN)/python scripts/embed.py "$(MODEL)" "$(TRAINED_ON)" "$(EMBEDDINGS)/$(DATASET_NAME)"
	$(RUN)/python eval/regression.py "$(EMBEDDINGS)/$(DATASET_NAME)" "$(TRAINED_ON)" --output "$(RESULTS)/regression"
	$(RUN)/python eval/retrieval.py "$(EMBEDDINGS)/$(DATASET_NAME)" --output "$(RESULTS)/retrieval"
ifneq ($(filter text,$(MODALITIES)),)
	$(RUN)/python scripts/embed.py "$(MODEL)" "$(TRAINED_ON)" "$(EMBEDDINGS)/$(DATASET_NAME)_without_context" --without_context --split test
	$(RUN)/python eval/retrieval.py "$(EMBEDDINGS)/$(DATASET_NAME)_without_context" --output "$(RESULTS)/retrieval_without_context"
endif

benchmark-real: $(INSTALLED)  ## real CSC events of the Hub (or DATASET, a local copy): package, align, embed, tables with chance
	$(RUN)/python scripts/build_dataset.py hub "$(PUBLIC)" "outputs/data/$(PUBLIC_NAME)" $(if $(MAPPING),--mapping "$(MAPPING)")
	$(RUN)/python eval/hardness.py "outputs/data/$(PUBLIC_NAME)" --output "outputs/results/$(PUBLIC_NAME)/hardness"
	$(MAKE) --no-print-directory align DATASET="outputs/data/$(PUBLIC_NAME)" MODALITIES="spectrum event"

discovery: $(INSTALLED)  ## after results: anomalies, graphs, trajectories, maps and a question in words, with $(MODEL)
	$(RUN)/python eval/neighbours.py "$(EMBEDDINGS)/default" --dataset outputs/data/default --text "$(TEXT)" --output "$(RESULTS)/text_query"
	$(RUN)/python eval/anomaly.py "$(EMBEDDINGS)/default" outputs/data/default --output "$(RESULTS)/anomaly"
	$(RUN)/python eval/graph.py "$(EMBEDDINGS)/default" outputs/data/default --output "$(RESULTS)/graph"
	$(RUN)/python eval/maps.py "$(EMBEDDINGS)/default" outputs/data/default --output "$(RESULTS)/maps"
	$(RUN)/python eval/trajectories.py "$(EMBEDDINGS)/default" outputs/data/default --output "$(RESULTS)/trajectories"

report: $(INSTALLED)  ## every table and picture of $(MODEL) as one page, outputs/results/.../report/index.html
	$(RUN)/python scripts/report.py "$(RESULTS)"

$(EXPLORER): $(INSTALLED)
	$(RUN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[explore]"
	touch $@

explore: $(EXPLORER)  ## map of the default dataset in $(MODEL)'s space and a page for your own files, at http://127.0.0.1:7860
	$(RUN)/python scripts/explore.py "$(EMBEDDINGS)/default" outputs/data/default --spectrum_model outputs/spectrum

real: $(INSTALLED)  ## package the real files of $(DATA), embed them with $(MODEL), print neighbours and texts
	$(RUN)/python scripts/build_dataset.py files "$(DATA)" "outputs/data/$(REAL)" --overwrite
	$(RUN)/python scripts/embed.py "$(MODEL)" outputs/data/default "$(EMBEDDINGS)/default"
	$(RUN)/python scripts/embed.py "$(MODEL)" "outputs/data/$(REAL)" "$(EMBEDDINGS)/$(REAL)"
	$(RUN)/python eval/neighbours.py "$(EMBEDDINGS)/default" "$(EMBEDDINGS)/$(REAL)" --dataset outputs/data/default --query_dataset "outputs/data/$(REAL)" --output "$(RESULTS)/neighbours_$(REAL)"

spectra: $(INSTALLED)  ## read and fit every real spectrum of $(DATA), beside the independent check
	$(RUN)/python scripts/check_spectra.py "$(DATA)"

test: $(INSTALLED)  ## every test
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -n $(WORKERS)

# Case k of a seed is always the same; a failing one is made again by `tests/fuzzing.py N --seed SEED --only k`.
N ?= 1000
SEED ?= 0
fuzz: $(INSTALLED)  ## N damaged files (and of DATA) to every reader: results or InputFileError, in 10 s and 1 GiB
	OMP_NUM_THREADS=1 $(RUN)/python tests/fuzzing.py $(N) --seed $(SEED) --data "$(DATA)"

check: style types site  ## ruff, mypy and the docs site (site/); warnings are errors

style: $(INSTALLED)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(INSTALLED)
	$(RUN)/mypy

site: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet

wheel:  ## build dist/*.whl and try it in an empty environment, outside the checkout
	rm -rf build dist
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	dist/venv/bin/python -m pip install --quiet --no-compile -c constraints.txt dist/*.whl
	cd / && OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(CURDIR)/dist/venv/bin/python -I $(CURDIR)/scripts/smoke_wheel.py
	rm -rf build dist/venv

# torch stays at the tested version: older ones are gigabytes of CUDA in the package index, and 2.6 to 2.12 are not tried here.
oldest:  ## the tests with the lowest versions that pyproject.toml allows, in .venv-oldest
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -c constraints.txt uv
	.venv-oldest/bin/uv pip compile pyproject.toml --quiet --no-annotate --resolution lowest-direct \
	  --python .venv-oldest/bin/python --extra dev --extra docs --extra text \
	  --constraint <(grep '^torch==' constraints.txt) --output-file .venv-oldest/lowest.txt
	.venv-oldest/bin/python -m pip install --quiet --no-compile -c .venv-oldest/lowest.txt -e ".[dev,docs,text]"
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -q -n $(WORKERS) -m "not slow and not gpu"

format: $(INSTALLED)  ## let ruff rewrite what it can
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: $(INSTALLED)  ## every benchmark; rewrites benchmarks/RESULTS.md
	$(RUN)/python benchmarks/run_all.py

# No environment is made: `make gpu PYTHON=python3` takes any Python that has PyTorch, the default is .venv's if it is there.
GPU_PYTHON = $(if $(findstring command,$(origin PYTHON)),$(PYTHON),$(firstword $(wildcard $(RUN)/python) $(PYTHON)))
gpu:  ## everything a GPU is for, in 8 minutes; rehearsal: make gpu DEVICE=cpu SIZE=tiny
	$(GPU_PYTHON) benchmarks/gpu.py $(if $(DEVICE),--device $(DEVICE)) $(if $(SIZE),--size $(SIZE)) $(if $(STAGES),--stages $(STAGES))

clean:  ## remove what the runs wrote (not the virtual environment)
	rm -rf outputs site dist build .venv-oldest
