# The front door: `make help` lists what there is.
BUDGET ?= 5m
PREFIX ?= /usr/local
RECIPE ?= fashion-mnist
DEMO ?= demo
ROUNDS ?= 3
BENCH ?=
BUILD := build

# One compiler for each core, and for each 1.5 GB of memory: a file with LibTorch takes about 1 GB.
CORES := $(shell nproc 2>/dev/null || echo 2)
MEMORY_JOBS := $(shell awk '/MemAvailable/ {n = int($$2 / 1500000); print (n < 1 ? 1 : n)}' /proc/meminfo 2>/dev/null || echo 2)
JOBS ?= $(shell echo $$(( $(CORES) < $(MEMORY_JOBS) ? $(CORES) : $(MEMORY_JOBS) )))

.PHONY: help dependencies configure program build demo test install bench solver-table clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo      install what is missing, build, train on Fashion-MNIST for BUDGET=$(BUDGET), write $(DEMO)/index.html'
	@echo 'make program   $(BUILD)/tweedie alone'
	@echo 'make build     $(BUILD)/tweedie and $(BUILD)/tweedie-reference, optimised'
	@echo 'make test      build everything and run the tests'
	@echo 'make install   build and install to PREFIX=$(PREFIX)'
	@echo 'make bench     measure this machine against PyTorch, ROUNDS=$(ROUNDS) rounds; BENCH="--only cifar --json FILE" or --help'
	@echo 'make solver-table   measure the order of every sampler, write it into docs/solvers.md'
	@echo 'make clean     remove $(BUILD)/ (trained runs are kept)'
	@echo 'make dependencies   install the Debian packages that are missing'

dependencies:
	@scripts/install-dependencies.sh

configure: dependencies
	@cmake --preset release -DCMAKE_INSTALL_PREFIX='$(PREFIX)' $(CMAKE_FLAGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

program: configure
	@cmake --build $(BUILD) -j $(JOBS) --target tweedie_program

build: configure
	@cmake --build $(BUILD) -j $(JOBS) --target tweedie_program tweedie-reference

demo:
	@BUDGET='$(BUDGET)' RECIPE='$(RECIPE)' DEMO='$(DEMO)' scripts/demo.sh

test: configure
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

install: configure
	@cmake --build $(BUILD) -j $(JOBS)
	@cmake --install $(BUILD) >/dev/null
	@echo 'installed to $(PREFIX); try: $(PREFIX)/bin/tweedie list samplers'

bench: build
	@PEER='$(PEER)' scripts/make-bench-peers.sh $(BUILD)
	@PEER='$(PEER)' bench/table.py --rounds $(ROUNDS) $(BENCH)

solver-table: configure
	@cmake --build $(BUILD) -j $(JOBS) --target tweedie-solver-table
	@$(BUILD)/tweedie-solver-table docs/solvers.md

clean:
	rm -rf $(BUILD)
