# The project's verbs. `just` without arguments lists them.

_default:
    @just --list

# Format all code.
fmt:
    cargo fmt --all

# What CI demands of style: formatted, and no warning of clippy.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All tests.
test:
    cargo test --workspace

# A sandbox with the demo.
demo:
    cargo run --release -- sandbox --demo

# Memory, CPU and start time of one idle virtual cluster.
footprint:
    cargo run --release -- bench footprint

# Write what is generated from the code: CRDs, install.yaml, kustomize bases, Helm charts, the reference of fields.
generate:
    VKUBE_UPDATE=1 cargo test -q -p vkube-crds
    VKUBE_UPDATE=1 cargo test -q -p vkube-operator --test manifests

# Licences, advisories and duplicates of dependencies.
deny:
    cargo deny check
