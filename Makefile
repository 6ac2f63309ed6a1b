# `make demo` and `make test` are all that a fresh machine needs: each does the set-up it finds missing, once
# (scripts/setup.sh), builds, and runs. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: help setup build test test-clients demo bench bench-peers format tidy asan tsan gcc fuzz clean

PRESET ?= release
BUILD_ROOT ?= build
BUILD ?= $(BUILD_ROOT)/$(PRESET)

# A file over LibTorch takes about 1 GB to compile, so memory limits the jobs as well as cores do.
JOBS ?= $(shell awk -v cores="$$(nproc)" \
  '/^MemAvailable/ { gb = int($$2 / 1048576); print (gb < 1 ? 1 : gb < cores ? gb : cores) }' /proc/meminfo)
# Tests run two threads each.
TEST_JOBS ?= $(shell awk -v cores="$$(nproc)" \
  'BEGIN { half = int(cores / 2); print (half > 2 ? half : cores < 2 ? 1 : 2) }')
TEST_ARGS ?=
CLIENT_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
# The suites that own threads and are free of LibTorch, whose own threads ThreadSanitizer cannot follow.
TSAN_SUITES ?= base io data
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst fuzz/%_fuzz.cpp,%,$(wildcard fuzz/*_fuzz.cpp))
# Folders of files that every target may begin with, such as images.
FUZZ_SEEDS ?=
# `make tidy` looks at what differs from this revision.
SINCE ?= HEAD

# $(call compile,PRESET,FOLDER[,TARGETS])
compile = @scripts/setup.sh $(1) $(2) && ninja -C $(2) -j $(JOBS) $(3)
# $(call tests,FOLDER[,MORE ARGUMENTS])
tests = ctest --test-dir $(1) --output-on-failure --no-tests=error -j $(TEST_JOBS) $(2) $(TEST_ARGS) && \
  scripts/count_tests.sh $(1)/Testing/Temporary/LastTest.log
# $(call needs,TEST,PACKAGE): a tool that only developers need
needs = @$(1) || { echo "make $@ needs the package $(2): apt-get install $(2)" >&2; exit 2; }
sources = git ls-files --cached --others --exclude-standard -- \
  $(foreach folder,src tests bench fuzz,'$(folder)/*.h' '$(folder)/*.cpp')

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PRESET BUILD BUILD_ROOT JOBS TEST_JOBS TEST_ARGS CLIENT_ARGS DEMO_ARGS BENCH_ARGS TSAN_SUITES FUZZ_SECONDS FUZZ_TARGETS FUZZ_SEEDS SINCE LACUNA_TORCH"

setup: ## system packages, LibTorch and a configured build folder; done by the others when missing
	@scripts/setup.sh $(PRESET) $(BUILD)

build: ## compile everything into BUILD (the default)
	$(call compile,$(PRESET),$(BUILD))

test: build ## build and run the whole suite; TEST_ARGS="-R name" picks
	@$(call tests,$(BUILD))

test-clients: build ## what timm, transformers and OpenCLIP write and open; CLIENT_ARGS="-k name" picks
	@scripts/setup_clients.sh && .venv-clients/bin/python tests/clients/run.py --lacuna $(BUILD)/bin/lacuna $(CLIENT_ARGS)

demo: build ## build and run the demonstration; DEMO_ARGS="…" passes options
	@$(BUILD)/bin/lacuna demo $(DEMO_ARGS)

bench: ## build and run the benchmarks; BENCH_ARGS="--benchmark_filter=…" picks
	$(call compile,bench,$(BUILD_ROOT)/bench)
	@for program in $(BUILD_ROOT)/bench/bin/bench_*; do "$$program" $(BENCH_ARGS); done

bench-peers: ## Python environments of the data path's peers (downloads of some GB); bench/peers/compare.py uses them
	@bench/peers/setup.sh $(BUILD_ROOT)/peers

format: ## rewrite the sources in the style of .clang-format
	$(call needs,command -v clang-format >/dev/null,clang-format)
	@$(sources) | xargs -r clang-format -i

tidy: build ## clang-tidy over the sources that differ from SINCE (default HEAD)
	$(call needs,command -v clang-tidy >/dev/null,clang-tidy)
	@{ git diff --name-only --diff-filter=d $(SINCE) -- 'src/*.cpp' 'tests/*.cpp'; \
	   git ls-files --others --exclude-standard -- 'src/*.cpp' 'tests/*.cpp'; } \
	  | xargs -r -n 1 -P $(JOBS) clang-tidy -p $(BUILD) --quiet

asan: ## the whole suite under AddressSanitizer and UBSan
	$(call needs,test -e "$$(clang++ -print-file-name=libclang_rt.asan-$$(uname -m).a)",libclang-rt-dev)
	$(call compile,asan,$(BUILD_ROOT)/asan)
	@$(call tests,$(BUILD_ROOT)/asan)

tsan: ## the suites that own threads (TSAN_SUITES) under ThreadSanitizer
	$(call needs,test -e "$$(clang++ -print-file-name=libclang_rt.tsan-$$(uname -m).a)",libclang-rt-dev)
	$(call compile,tsan,$(BUILD_ROOT)/tsan,$(TSAN_SUITES:%=test_%))
	@$(call tests,$(BUILD_ROOT)/tsan,-L '^($(subst $() ,|,$(strip $(TSAN_SUITES))))$$')

fuzz: ## every fuzz target (FUZZ_TARGETS) for FUZZ_SECONDS each; corpora stay in the build folder
	$(call needs,test -e "$$(clang++ -print-file-name=libclang_rt.fuzzer-$$(uname -m).a)",libclang-rt-dev)
	$(call compile,fuzz,$(BUILD_ROOT)/fuzz,fuzzers)
	@FUZZ_SEEDS="$(FUZZ_SEEDS)" scripts/fuzz.sh $(BUILD_ROOT)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

gcc: ## compile everything with the second compiler
	$(call needs,command -v g++ >/dev/null,g++)
	$(call compile,gcc,$(BUILD_ROOT)/gcc)

clean: ## delete the build folders; LibTorch in .venv stays
	@rm -rf $(addprefix $(BUILD_ROOT)/,release dev bench gcc asan tsan fuzz)
