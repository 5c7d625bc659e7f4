# AIOS. `make run` brings a host up and proves what it booted; `make help`
# lists the rest. Everything is built by the Go toolchain that go.mod pins;
# this file only says in which order.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory
GO          := .ci/go

# What a host boots is built for the manifest key in the state folder, since
# the boot stage carries that key.
TARGET      := bin/target
VERSION     := $(shell cat VERSION 2>/dev/null || echo dev)
COMMIT      := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# Tests have keys of their own: they never touch those of the installation.
TEST_STATE  := $(CURDIR)/.build/test/state
TEST_TARGET := $(CURDIR)/.build/test/target

# One command line: up waits for Ctrl-C, or ends once the agent's end is proven.
UP_FLAGS    := $(if $(ONCE),--once) $(if $(JSON),--json)

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

.PHONY: prepare
prepare: ## install missing Debian packages (needs root or sudo)
	@.ci/prepare

.PHONY: run
run: prepare build ## build, boot and prove a host, run an agent and kill it (ONCE=1: then end)
	@bin/aios up $(UP_FLAGS)

.PHONY: aios
aios:
	@echo "make: building bin/aios"
	@$(GO) build -trimpath -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/aios ./cmd/aios
	@$(GO) build -trimpath -o .build/mkmetal ./boot/cmd/mkmetal

.PHONY: build
build: aios ## build bin/aios and what hosts boot (bin/target)
	@echo "make: building boot stage, kernel and services with $$($(GO) env GOVERSION)"
	@bin/aios keys init --quiet
	@$(MAKE) target KEYS="$$(bin/aios keys path)" OUT=$(TARGET)

# Ring-3 programs: services and runtimes.
SERVICES    := netd attestd echod wasmhost
# Agents of the tests: one module that does what its name says (agents/misbehave).
MISBEHAVING := allocate flood-ipc flood-log recurse
WASM_FLAGS  := -trimpath -buildvcs=false -ldflags="-s -w -buildid="

# KEYS: PEM file of the trusted manifest keys; OUT: folder.
.PHONY: target
target:
	@PATH=$$($(GO) env GOROOT)/bin:$$PATH; export PATH GOTOOLCHAIN=local; \
	.build/mkmetal -kind efi -pkg ./boot/cmd/bootx64 -trusted-keys "$(KEYS)" -o $(OUT)/bootx64.efi; \
	.build/mkmetal -kind kernel -pkg ./kernel/cmd/kernel -o $(OUT)/kernel.elf; \
	for s in $(SERVICES); do .build/mkmetal -kind service -pkg ./services/$$s -o $(OUT)/$$s.elf; done
	@export GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOFLAGS=-mod=readonly GOEXPERIMENT=; \
	$(GO) build $(WASM_FLAGS) -o $(OUT)/hello.wasm ./agents/hello; \
	$(GO) build $(WASM_FLAGS) -o $(OUT)/loop-forever.wasm ./agents/misbehave; \
	for a in $(MISBEHAVING); do cp $(OUT)/loop-forever.wasm $(OUT)/$$a.wasm; done

.PHONY: image
image: build ## build and sign the disk image, with its predicted PCR values
	@bin/aios image build

.PHONY: test-build
test-build: prepare aios
	@AIOS_STATE=$(TEST_STATE) bin/aios keys init --quiet
	@$(MAKE) target KEYS="$$(AIOS_STATE=$(TEST_STATE) bin/aios keys path)" OUT=$(TEST_TARGET)

TEST_ENV := AIOS_TEST_BIN=$(CURDIR)/bin/aios AIOS_TEST_STATE=$(TEST_STATE) AIOS_TEST_TARGET=$(TEST_TARGET)

.PHONY: test
test: test-build ## run every test; the last line is "N passed, N failed"
	@$(TEST_ENV) $(GO) run ./test/run unit target e2e

.PHONY: test-unit
test-unit: ## run the tests that need no virtual machine
	@$(GO) run ./test/run unit

.PHONY: test-target
test-target: test-build ## run the kernel's own tests on a booted machine
	@$(TEST_ENV) $(GO) run ./test/run target

.PHONY: test-e2e
test-e2e: test-build ## do what a user does, with the real binary and real boots
	@$(TEST_ENV) $(GO) run ./test/run e2e

.PHONY: bench
bench: test-build ## measure beside Debian's kernel in the same virtual machine (DOC=1: docs/BENCHMARKS.md too)
	@$(TEST_ENV) $(GO) run -ldflags "-X main.commit=$(COMMIT)" ./test/bench $(if $(DOC),-doc docs/BENCHMARKS.md)

.PHONY: fuzz
FUZZTIME ?= 10s
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@GO=$(GO) FUZZTIME=$(FUZZTIME) test/fuzz.sh

.PHONY: soak
N ?= 50
soak: prepare aios ## boot a host N times (50) in a row, each to an affirming verdict
	@AIOS_STATE=$(CURDIR)/.build/soak bin/aios keys init --quiet
	@$(MAKE) target KEYS="$$(AIOS_STATE=$(CURDIR)/.build/soak bin/aios keys path)" OUT=.build/soak/target
	@N=$(N) TARGET=.build/soak/target test/soak.sh

.PHONY: soak-fleet
MINUTES ?= 30
soak-fleet: test-build ## start and kill an agent, cut the network, kill the verifier, over and over for MINUTES (30)
	@$(TEST_ENV) AIOS_SOAK_MINUTES=$(MINUTES) $(GO) test -count 1 -tags e2e,soak -timeout $$(( $(MINUTES) + 15 ))m -run TestSoak -v ./test/e2e

.PHONY: model
model: ## check the models of the capability system with spin: all states, and that mistakes are caught
	@.ci/prepare model
	@$(GO) run ./test/model $(MODEL)

.PHONY: generate
generate: ## make again what is made from the system call table
	@$(GO) run ./kernel/abi/gen
	@$(GO) run ./test/docs

.PHONY: reproduce
reproduce: ## build twice, as different users in different places, and compare
	@GO=$(CURDIR)/$(GO) test/reproduce.sh

.PHONY: lint
lint: ## gofmt, vet in the plain tree and with every build tag
	@test -z "$$($(GO) run cmd/gofmt -l . | tee -a /dev/stderr)" || { echo "lint: the files above are not formatted: gofmt -w" >&2; exit 1; }
	@$(GO) vet ./...
	@$(GO) vet -tags e2e,swtpm,soak,crashtest ./...
	@GOOS=wasip1 GOARCH=wasm $(GO) vet ./agents/... ./sdk/go/agent
	@# What is built for the machine alone, as far as it does without the overlay. There addresses are numbers.
	@$(GO) vet -tags aios -unsafeptr=false -framepointer=false ./kernel/metal ./kernel/machine ./kernel/target/ring0

.PHONY: tcb
tcb: build ## count the lines of what has to be trusted, from what is linked
	@$(GO) run ./test/tcb aios/boot/cmd/bootx64=$(TARGET)/bootx64.efi aios/kernel/cmd/kernel=$(TARGET)/kernel.elf $(foreach s,$(SERVICES),aios/services/$s=$(TARGET)/$s.elf)

.PHONY: clean
clean: ## remove what was built; keys and hosts in the state folder stay
	@rm -rf bin .build
