# `make demo` and `make test` bring what they need (scripts/setup).
.PHONY: demo test check bench setup setup-tests release

demo: setup
	@cargo run --quiet --package longshore -- demo

test: setup-tests
	cargo test --workspace

check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

bench: setup-tests
	cargo bench --workspace

# The binary to install: DuckDB compiled from source and linked in (an hour on two cores).
release:
	cargo build --release --package longshore --features bundled

setup:
	@scripts/setup

setup-tests:
	@scripts/setup tests
