# What a person or a build machine runs. `make help` lists it.
#
# Everything is built into one folder outside the checkout, so that a second checkout builds nothing twice.

CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/slmc
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(HOME)/.cargo/bin:$(PATH)
# The bindings take a newer LLVM for theirs unless they are told where 19 is.
export LLVM_SYS_191_PREFIX ?= $(shell .ci/setup --llvm-prefix)

SLMC := $(CARGO_TARGET_DIR)/release/slmc
DEMO := $(CACHE)/demo/warehouse.slm

.PHONY: help setup build demo test fmt clean-demo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what a build needs and is missing (says what it does)
	@.ci/setup

build: setup ## the slmc command with all it can do
	cargo build --release --package slmc --features llvm,reference
	@echo "built $(SLMC)"

demo: build ## compile the warehouse student for this machine and ask it a question
	$(SLMC) compile examples/warehouse --output $(DEMO) --force
	@echo; sed -n 's/.*"content": "\(.*\)".*/  \1/p' examples/warehouse/question.json | sed 's/\\n/\n  /g'; echo
	$(SLMC) run $(DEMO) --messages examples/warehouse/question.json

test: ## format, lints, documentation, all tests (installs what they run with)
	@.ci/setup --tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features $(FEATURES) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features $(FEATURES)
	cargo check --package slmc
	cargo test --workspace --features $(FEATURES)

FEATURES := slmc/llvm,slmc/reference,slmc-tests/llvm

fmt: ## format all code
	cargo fmt --all

clean-demo: ## remove what `make demo` wrote
	rm -rf $(CACHE)/demo
