# All targets work as root and as an ordinary user. VMTEST_IMAGE=debian-12 selects
# another guest, IMAGES=debian-12,debian-13 those of matrix and conformance, and
# VMTEST_CACHE another cache directory. RESULTS=DIRECTORY keeps what go test -json prints,
# which "vmtest report" reads.

GO ?= go
VMTEST = $(GO) run ./vmtest/cmd/vmtest

# An ordinary user's PATH may lack these directories.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

IMAGES ?= debian-11,debian-12,debian-13,debian-14
TABLE = $(GO) run ./scenarios/conformance/cmd/table

# Runs go test and shows each test as it ends; $(1) names the file in RESULTS. Tools have a
# module file of their own, tools.mod, so that no user's module has them.
SUM = $(GO) tool -modfile=tools.mod gotestsum --format testname --hide-summary=skipped
TEST = $(if $(RESULTS),mkdir -p "$(RESULTS)" && )$(SUM) $(if $(RESULTS),--jsonfile "$(RESULTS)/$(1).json") --

# Runs the conformance set, and gives the result to the table's command with the option $(1).
CONFORM = @$(if $(RESULTS),mkdir -p "$(RESULTS)" && json="$(RESULTS)/conformance.json",\
	json=$$(mktemp) && trap 'rm -f "$$json"' EXIT) && \
	VMTEST_REQUIRE=1 VMTEST_IMAGE=$(IMAGES) $(SUM) --jsonfile "$$json" -- -count=1 -timeout 60m ./scenarios/conformance && \
	$(TABLE) $(1) scenarios/CONFORMANCE.md <"$$json"

.PHONY: help demo test unit matrix scenarios report dist conformance faults faults-sample untrimmed cover terminal-check lint setup images bench soak fuzz flake-check flake-sample

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup ## show socket activation on a real systemd, step by step
	@$(VMTEST) demo

# Build the image and its snapshot first, because tests hide the progress.
test: setup ## run all tests
	@$(VMTEST) run true
	$(call TEST,test) -timeout 30m ./...

unit: ## run the tests that need no machine
	$(call TEST,unit) -short ./...

matrix: scenarios ## run all scenarios on all images; fail if scenarios/CONFORMANCE.md is out of date
	$(call CONFORM,-check)

# Tests of the host's side run on the default image only (scenarios/hostside_test.go).
scenarios: setup ## run all scenarios on all images
	@failed=; for image in $$(echo '$(IMAGES)' | tr , ' '); do \
		echo "$$image"; \
		export VMTEST_REQUIRE=1 VMTEST_IMAGE=$$image; \
		{ $(call TEST,$$image) -count=1 -timeout 60m ./scenarios; } || failed="$$failed $$image"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

report: ## make a page and JUnit XML of the runs in RESULTS
	@test -n "$(RESULTS)" || { echo "name the directory of the runs: make report RESULTS=results" >&2; exit 2; }
	$(VMTEST) report --html "$(RESULTS)/report.html" --junit "$(RESULTS)/junit.xml" "$(RESULTS)"/*.json

dist: ## build static commands for a release, in dist
	@rm -rf dist
	@for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOARCH=$$arch $(GO) build -trimpath -o "dist/vmtest-linux-$$arch" ./vmtest/cmd/vmtest || exit; \
	done
	@cd dist && sha256sum vmtest-* >SHA256SUMS && cat SHA256SUMS

conformance: setup ## run the conformance set on all images, and write scenarios/CONFORMANCE.md
	$(call CONFORM,-write)

faults: setup ## make each change of scenarios/faults in a copy, and check that a test fails and names it
	@$(VMTEST) run true
	$(GO) run ./scenarios/faults

# Unit tests only: a fault among them costs a few seconds.
faults-sample: ## do the same with ten changes that need no guest
	$(GO) run ./scenarios/faults -run ' \./(echo|images|internal|vmtest/internal)' -sample 10

untrimmed: setup ## run the guide's scenario in an untrimmed guest
	VMTEST_UNTRIMMED=1 $(GO) test -timeout 30m -run '^(TestTrimming|TestGuide)$$' ./scenarios

# The tests whose guests have the echo daemon.
ECHO_TESTS = ^Test(Echo|Accept(No|Yes)|Listen)

cover: setup ## print what the scenarios cover of echo, alone and with its unit tests
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && mkdir "$$dir/unit" "$$dir/all" && \
	$(GO) test -count=1 -cover -coverpkg=./echo/... ./echo/... -args -test.gocoverdir="$$dir/unit" >"$$dir/log" || { cat "$$dir/log"; exit 1; } && \
	VMTEST_COVER="$$dir/guests" $(GO) test -count=1 -timeout 30m -run '$(ECHO_TESTS)' ./scenarios && \
	echo 'the scenarios:' && $(GO) tool covdata percent -i="$$dir/guests" && \
	echo 'with the unit tests:' && $(GO) tool covdata merge -pcombine -i="$$dir/unit,$$dir/guests" -o="$$dir/all" && \
	$(GO) tool covdata percent -i="$$dir/all"

# Needs tmux and the packages of setup.
terminal-check: setup ## drive shells, doctor and a kept machine in a real terminal
	@$(VMTEST) run true
	VMTEST_TERMINAL=1 VMTEST_REQUIRE=1 $(GO) test -v -count=1 -run '^TestTerminal' ./scenarios

lint: setup ## check format, prose, code, go.mod, workflows and units
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change:" $$files >&2; exit 1; }
	.ci/prose
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) tool -modfile=tools.mod actionlint -shellcheck= -pyflakes=
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	CGO_ENABLED=0 $(GO) build -o "$$dir/demo-echo" ./echo/cmd/demo-echo && \
	$(VMTEST) verify --with "$$dir/demo-echo:/usr/local/bin/demo-echo" $(wildcard echo/units/*) scenarios/testdata/guide

setup: ## install missing host packages
	@$(VMTEST) setup

images: setup ## rebuild all guest images
	@$(VMTEST) image build --all

# VMTEST_BENCH_PEER=PROGRAM compares with another program (BenchmarkPeer).
bench: setup ## measure this machine, and write bench.json
	@$(VMTEST) run true
	VMTEST_BENCH_JSON=$(CURDIR)/bench.json $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./vmtest

soak: setup ## run the long tests: many forks, killed tests, damaged caches, full disks, a long journal
	VMTEST_SOAK=1 VMTEST_FORKS=500 VMTEST_KILLS=50 $(GO) test -v -count=1 -timeout 60m -run 'TestManyForks|TestKilledTestLeavesNothing|TestCache$$|TestEmptyCache|TestFullDisk|TestJournalStreamIsWhole' ./scenarios

FUZZTIME ?= 10m
fuzz: ## fuzz each parser of untrusted text for FUZZTIME, by default 10m
	@set -e; git grep -E '^func Fuzz' -- '*_test.go' | sed 's/^\(.*\)\/[^/]*:func \(Fuzz[A-Za-z]*\).*/\1 \2/' | \
	while read -r dir name; do \
		echo "$$dir $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$dir" </dev/null; \
	done

flake-check: setup ## build all checks of the flake, with the host's programs instead of nixpkgs'
	@$(VMTEST) run true
	images/nixos/with-standin flake check -L --keep-going

# Each group of scenarios boots a guest of its own, so all of them take 20 minutes and more.
SAMPLE = unit guide-nixos accept_yes-nixos accept_no-nixos
flake-sample: setup ## build some checks of the flake, as flake-check
	@$(VMTEST) run true
	images/nixos/with-standin flake show
	images/nixos/with-standin build -L --no-link $(SAMPLE:%=.\#checks.$$(uname -m)-linux.%)
