# Every step of CI is a target here. `make help` lists them. Needs Debian 12 with Go, gcc and root; installs the rest itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/foretide
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(CACHE)/golangci-lint-$(GOLANGCI_VERSION)
K8S_VERSION := v1.37.2
K8S_BIN := $(CACHE)/cluster-$(K8S_VERSION)
PROMETHEUS_ADAPTER := $(CACHE)/prometheus-adapter-v0.12.0
CLUSTER_DIR := /var/lib/foretide-cluster
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# go-nvml's and go-dcgm's symbols are found when first called, so a distribution that binds at start-up by default must be told not to.
AGENT_LDFLAGS := $(LDFLAGS) -extldflags=-Wl,-z,lazy
PACKAGES_CLUSTER := etcd-server containerd runc containernetworking-plugins nftables iproute2 buildah ca-certificates tzdata netbase
PACKAGES_GENERATE := protobuf-compiler
PACKAGES_ENGINES := prometheus victoria-metrics
PACKAGES_FORECAST := python3-statsmodels r-cran-forecast r-cran-jsonlite
FORECAST_DATA := test/data/forecast
FAKENVML := test/fakenvml/build/libnvidia-ml.so.1
UNIT := ./agent/... ./aggregator/... ./pkg/... ./hack/docgen/... ./hack/forecast-train/... ./test/forecastbench/... ./test/load/... ./test/replay/... ./test/swarm/...
SCRIPTED := ./test/fakenvml/... ./test/fakedcgm/... ./hack/gpu-check/...

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: bin/agent bin/aggregator ## Build both binaries into bin/

.PHONY: bin/agent bin/aggregator
# Without grpcnotrace gRPC keeps its request traces and pulls in golang.org/x/net/trace: 3 MiB of memory for nothing.
bin/agent:
	CGO_ENABLED=1 CGO_CFLAGS='-O2 -g -Wno-deprecated-declarations' go build -trimpath -tags grpcnotrace -ldflags '$(AGENT_LDFLAGS)' -o $@ ./agent
bin/aggregator:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./aggregator

.PHONY: kubectl-plugin
kubectl-plugin: bin/aggregator ## Build bin/kubectl-foretide, a link: put both into a folder of your PATH for kubectl foretide explain ahpa/NAME
	ln -sf aggregator bin/kubectl-foretide

$(FAKENVML): $(wildcard test/fakenvml/lib/*) test/fakenvml/build.sh
	test/fakenvml/build.sh $(@D)

.PHONY: fakenvml
fakenvml: $(FAKENVML) ## Build the scenario library that stands where NVIDIA's NVML would be

.PHONY: test
test: unit scripted-test engines-test chaos-test replicas-test integration cluster-test e2e ## Everything: unit tests, other engines, faults, replicas and shards, API server tests, the walkthrough and the conformance suite on a real cluster

.PHONY: unit
unit: ## Fast tests, with the race detector
	GORACE=atexit_sleep_ms=100 go test -race $(UNIT)

.PHONY: scripted-test
scripted-test: ## Tests of the scripted libraries, and of gpu-check on them
	go test -race $(SCRIPTED)

.PHONY: engines-test
engines-test: deps-engines ## Against a real Prometheus and a real VictoriaMetrics: remote write, reading back, import, promtool
	go test -count=1 -race -tags engines ./test/engines
	go test -count=1 -tags engines ./aggregator/query

.PHONY: replicas-test
replicas-test: bin/aggregator deps-engines ## Two replicas of which one is away for a while, and three shards with one engine, as processes
	go test -count=1 -timeout 20m -tags replicas ./test/replicas

.PHONY: chaos-test
chaos-test: build fakenvml ## A short make chaos
	go test -count=1 -timeout 20m -tags chaos ./test/chaos

.PHONY: chaos
chaos: build fakenvml ## Agent and aggregator killed 100 times, a partition, a full and a slow disk, clocks set: nothing acknowledged may be lost
	go test -count=1 -v -timeout 90m -tags chaos ./test/chaos -kills 100 -partition 10m -trouble 1m

.PHONY: integration
integration: deps-cluster $(K8S_BIN)/kube-apiserver ## Tests against a real kube-apiserver and etcd
	KUBE_APISERVER=$(K8S_BIN)/kube-apiserver ETCD=/usr/bin/etcd go test -race -count=1 -tags integration ./test/integration/...

.PHONY: cluster-test
cluster-test: ## Unit tests of the test cluster's own module
	cd test/cluster && CGO_ENABLED=0 go test -trimpath ./...

.PHONY: e2e
e2e: images fakenvml ## The walkthrough, the scenes and the conformance suite on a real cluster, which is stopped afterwards
	trap 'cd $(CURDIR) && $(MAKE) --no-print-directory cluster-down' EXIT; $(MAKE) --no-print-directory cluster-up; \
	export KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):$$PATH; \
	go test -count=1 -v -parallel 24 -timeout 30m -tags e2e ./test/e2e/...; \
	go test -count=1 -v -timeout 30m -tags conformance ./test/conformance

.PHONY: conformance
conformance: images fakenvml ## Everything the agent promises, case by case, on scripted nodes and a real kubelet; writes the table into agent/README.md
	trap 'cd $(CURDIR) && $(MAKE) --no-print-directory cluster-down >/dev/null' EXIT; $(MAKE) --no-print-directory cluster-up; \
	KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):$$PATH go test -count=1 -v -timeout 30m -tags conformance ./test/conformance -update | tee bin/conformance.txt; \
	grep BENCH bin/conformance.txt

.PHONY: demo
demo: build fakenvml ## See the main job on recorded load in three minutes: simulated, then live; no cluster needed; ends by itself
	go run -trimpath -tags grpcnotrace ./hack/demo

.PHONY: demo-cluster
demo-cluster: cluster-up ## The walkthrough on a real cluster, told step by step; leaves the cluster up
	KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):$$PATH go test -count=1 -v -timeout 30m -tags e2e -run TestWalkthrough ./test/e2e/...
	@echo "The cluster is still up: export KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):\$$PATH; stop it with: make cluster-down"

.PHONY: cluster-build
cluster-build: $(K8S_BIN)/kube-apiserver ## Build the Kubernetes binaries once (about 10 minutes on 2 cores)
$(K8S_BIN)/kube-apiserver: test/cluster/go.mod
	cd test/cluster && go run . build
	touch $@

.PHONY: cluster-up
cluster-up: images cluster-build fakenvml ## Start a real one-node Kubernetes with 8 scripted GPUs on this machine
	cd test/cluster && go run . up --dir $(CLUSTER_DIR)
	install -D -m 0755 $(FAKENVML) $(CLUSTER_DIR)/gpu/libnvidia-ml.so.1
	cd test/cluster && go run . load-image --dir $(CLUSTER_DIR) $(CURDIR)/dist/agent.tar $(CURDIR)/dist/aggregator.tar

.PHONY: cluster-down
cluster-down: ## Stop that cluster and remove all it left
	cd test/cluster && go run . down --dir $(CLUSTER_DIR)

.PHONY: images
images: deps-cluster build ## Build both images into dist/ without a daemon
	mkdir -p dist
	hack/images/build.sh Dockerfile.agent localhost/foretide/agent:dev . dist/agent.tar
	hack/images/build.sh Dockerfile.aggregator localhost/foretide/aggregator:dev . dist/aggregator.tar

.PHONY: bench
bench: bench-agent bench-ingest bench-simulate bench-swarm bench-replicas bench-forecast bench-reaction bench-controller judge ## All figures, BENCH lines last

.PHONY: bench-agent
bench-agent: bin/agent fakenvml ## What the agent costs with 8 GPUs shared by 64 pods or in 56 parts, how quick and how right it is
	go test -count=1 -v -timeout 30m -tags bench -run TestMemoryStaysFlat ./agent/app | tee /dev/stderr | grep 'BENCH' > bin/soak.txt
	go run ./test/bench/footprint
	@cat bin/soak.txt

.PHONY: bench-ingest
bench-ingest: bin/aggregator ## What a sample costs the aggregator, against Prometheus' own receiver; how soon it is seen; how long a restart takes
	go run ./test/bench/ingest

.PHONY: bench-simulate
bench-simulate: ## How fast the simulator is: steps without a forecast, and four weeks of ours with one each minute
	go run ./test/bench/simulate

.PHONY: judge
judge: ## Plays all open recordings against our policy and those that users know; writes the table into test/replay/README.md
	go run ./test/replay/judge -readme test/replay/README.md

.PHONY: bench-swarm
bench-swarm: bin/aggregator ## 10,000 agents with 8 GPUs each on one aggregator
	go run ./test/bench/swarm

.PHONY: bench-replicas
bench-replicas: bin/aggregator deps-engines ## How long a replica that was away for 10 minutes takes to have its peer's history, and shards to decide after one died
	go test -count=1 -v -timeout 40m -tags replicas ./test/replicas -away 10m | tee /dev/stderr | grep -o 'BENCH .*'

.PHONY: bench-forecast
bench-forecast: bin/aggregator deps-forecast ## How right forecasts of recorded demand are, beside seasonal naive, statsmodels and R; FORECAST_DATA=folder for other data
	go test -run xxx -bench 'Predict|Tracker' -benchtime 100x -count 6 ./aggregator/forecast > bin/forecast-bench.txt
	go tool benchstat bin/forecast-bench.txt
	go run ./hack/forecast-train -judge $(FORECAST_DATA) | tee bin/leave-one-out.txt
	go run ./test/bench/forecast --data $(FORECAST_DATA)
	@awk '/family left out/ {print "BENCH forecast_loso_rmwql_" $$4, $$6, "ratio"}' bin/leave-one-out.txt

.PHONY: gpu-check
gpu-check: ## On a machine with an NVIDIA GPU: what the agent reads of it, and attribution against known load; kept in test/gpu
	CGO_CFLAGS='-O2 -g -Wno-deprecated-declarations' go run ./hack/gpu-check --out test/gpu/

.PHONY: bench-reaction
bench-reaction: images deps-engines $(PROMETHEUS_ADAPTER) ## From a load step to patched replicas on the real cluster, beside Prometheus + prometheus-adapter + HPA
	trap 'cd $(CURDIR) && $(MAKE) --no-print-directory cluster-down >/dev/null' EXIT; $(MAKE) --no-print-directory cluster-up; \
	KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):$$PATH PROMETHEUS_ADAPTER=$(PROMETHEUS_ADAPTER) go test -count=1 -v -timeout 60m -tags e2e,bench -run TestReaction ./test/e2e/... $(REACTION_FLAGS) | tee /dev/stderr | grep -o 'BENCH .*'

.PHONY: judge-cluster
judge-cluster: images fakenvml ## A recorded day on the real cluster and the same in the simulator: how often the replicas agree
	trap 'cd $(CURDIR) && $(MAKE) --no-print-directory cluster-down >/dev/null' EXIT; $(MAKE) --no-print-directory cluster-up; \
	KUBECONFIG=$(CLUSTER_DIR)/kubeconfig PATH=$(K8S_BIN):$$PATH go test -count=1 -v -timeout 30m -tags e2e,bench -run TestTheSimulatorAgrees ./test/e2e/... | tee /dev/stderr | grep -o 'BENCH .*'

.PHONY: bench-controller
bench-controller: bin/aggregator deps-cluster $(K8S_BIN)/kube-apiserver ## 5,000 policies over 20,000 pods on a real API server: a pass over all of them, memory, writes when nothing changes
	KUBE_APISERVER=$(K8S_BIN)/kube-apiserver go run ./test/bench/controller $(CONTROLLER_FLAGS)

$(PROMETHEUS_ADAPTER): test/bench/adapter/go.mod
	cd test/bench/adapter && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ sigs.k8s.io/prometheus-adapter/cmd/adapter
	touch $@

.PHONY: verify
verify: lint verify-generate verify-imports ## Lint, import table, generated files up to date

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint with the import table as rules
	$(GOLANGCI) run ./...
	cd test/cluster && $(GOLANGCI) run --config ../../.golangci.yml ./...

$(GOLANGCI): hack/golangci/go.mod
	cd hack/golangci && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: verify-imports
verify-imports: ## Agent and aggregator link nothing of each other
	@deps=$$(go list -deps ./agent); ! grep -E '^github.com/foretide/foretide/(aggregator|test|hack)|^k8s.io/client-go' <<<"$$deps"
	@deps=$$(go list -deps ./aggregator); ! grep -E '^github.com/foretide/foretide/(agent|test|hack)|go-nvml' <<<"$$deps"

.PHONY: generate
generate: deps-generate ## Write generated code, the CRD and the flag references
	mkdir -p bin
	go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	PATH=$(CURDIR)/bin:$$PATH protoc -I pkg/telemetry/telemetrypb --go_out=pkg/telemetry/telemetrypb --go_opt=paths=source_relative \
		--go-grpc_out=pkg/telemetry/telemetrypb --go-grpc_opt=paths=source_relative telemetry.proto
	go tool controller-gen object crd:allowDangerousTypes=true paths=./pkg/apis/... output:crd:dir=deploy/base/crd
	go test ./agent ./aggregator -update
	go run ./hack/docgen > bin/METRICS.md
	mv bin/METRICS.md METRICS.md
	go mod tidy

.PHONY: verify-generate
verify-generate: generate ## Fail when `make generate` changes anything
	@git diff --exit-code -- pkg deploy go.mod go.sum METRICS.md agent/FLAGS.txt aggregator/FLAGS.txt || { echo "generated files are out of date: run make generate and commit"; exit 1; }

# Services of the packages are not started (policy-rc.d), and no package is removed for them: a Docker stays as it is.
define install
	@missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing:" $$missing; apt-get update -q >/dev/null; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; trap "rm -f $$policy" EXIT; fi; \
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --no-remove $$missing >/dev/null; fi
endef

.PHONY: deps-cluster deps-generate deps-engines deps-forecast
deps-cluster:
	$(call install,$(PACKAGES_CLUSTER))
deps-generate:
	$(call install,$(PACKAGES_GENERATE))
deps-engines:
	$(call install,$(PACKAGES_ENGINES))
deps-forecast:
	$(call install,$(PACKAGES_FORECAST))

.PHONY: clean
clean: ## Remove what was built here (not the cached Kubernetes binaries)
	rm -rf bin dist test/fakenvml/build
