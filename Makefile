# `make` lists the targets. Each is one command; what takes more is a script in scripts/.
.DEFAULT_GOAL := help
BENCH ?= .
SEEDS ?= 10000

.PHONY: help build demo test lint fmt cross bench calibrate nightly fuzz e2e-vm rescue-iso packages torture screenshots fresh-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

build: ## build the static binaries into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/... ./examples/...

demo: build ## run the main job on 40 real agents: a good, a bad and a mended update (DEMO_FLAGS=--exit ends it)
	bin/firebreak demo $(DEMO_FLAGS)

test: ## everything that must hold before a commit; sets itself up
	scripts/test

lint: ## only the linter
	scripts/lint

fmt: ## format all Go files
	scripts/lint fmt

cross: ## prove that every main builds for every supported system
	scripts/cross

bench: ## run the benchmarks, and measure what the control plane promises (BENCH=regexp picks benchmarks)
	scripts/bench '$(BENCH)'

calibrate: ## measure every promised figure at full size, beside its goal (some hours on two cores; ONLY=regexp picks)
	FIREBREAK_TEST_FULL=1 go test -count=1 -timeout 4h -v -run '^TestFigures$$' ./internal/sim/calibrate -full -only '$(ONLY)'

nightly: ## the invariants over 10,000 simulated small fleets (SEEDS=10000)
	FIREBREAK_TEST_FULL=1 go test -count=1 -timeout 2h -run 'Simulated|TestReplay' ./internal/sim -seeds $(SEEDS)

fuzz: ## run every fuzz test for a while (FUZZ_TIME=20s)
	scripts/fuzz

e2e-vm: ## Debian machines: panics, hangs, full disks, power cuts, the recovery medium (root; half an hour)
	scripts/vm/e2e

rescue-iso: ## the recovery medium, BIOS and UEFI, into dist/rescue
	scripts/vm/rescue-iso

packages: ## Debian packages into dist/ (scripts/packages-check proves them, as root)
	scripts/packages

torture: ## kill replicas, databases and lines for ten minutes, and look what is left
	scripts/torture 10m

screenshots: ## pictures of every page of the console into docs/screenshots
	scripts/screenshots

fresh-check: ## prove README's two commands on a bare Debian 12 (needs root and debootstrap)
	scripts/fresh-check

clean: ## remove what was built and cached here
	rm -rf bin dist .tools .cache
