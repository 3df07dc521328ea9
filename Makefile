# The two commands of the README, and what they are made of.
.DEFAULT_GOAL := help
.PHONY: help test

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

test: ## Installs what is missing, then runs every test, lint and check
	@tests/run
