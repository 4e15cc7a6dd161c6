# `make demo` and `make test` bring what they need (scripts/setup).
.PHONY: demo test test-redshift-modes check bench setup setup-tests release

demo: setup
	@cargo run --quiet --package longshore -- demo

test: setup-tests
	cargo test --workspace

# The driver and the facts of Redshift in the modes that `make test` leaves out.
test-redshift-modes: setup-tests
	for mode in provisioned-serializable serverless-snapshot serverless-serializable; do \
		STANDIN_MODE=$$mode cargo test --package redshift-standin || exit 1; \
	done

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
