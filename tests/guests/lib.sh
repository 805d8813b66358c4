# shellcheck shell=bash
# What the scripts beside this one share: sourced, never run.

# run_target ARGUMENT…: the tests of a target that need another program, and so are run by name alone. Ends with `N passed, N failed`.
run_target() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast "$@"
    else
        cargo test --locked --no-fail-fast "$@"
    fi
}
