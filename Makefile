# The two commands of the README (`run`, `test`), and what stands beside them.
.DEFAULT_GOAL := help
.PHONY: help run join test bench clean

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: ## Install what is missing, build, and play the arena with bots
	@examples/arena/run

join: ## Join the running arena from another terminal: make join NAME=Ada
	@cd examples/arena && exec ../../target/release/cohnect-arena --name "$${NAME:-$$USER}"

test: ## Install what is missing, then run every test, lint and check
	@tests/run

bench: ## Measure this machine, every figure beside its bare reference
	@tests/toolchain
	@cargo build --release --locked --package cohnect-server --package cohnect-arena
	@target/release/cohnect bench

clean: ## Remove what was built
	@cargo clean
