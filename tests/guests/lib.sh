# shellcheck shell=bash
# What the scripts beside this one share: sourced, never run.

# run_ignored ARGUMENT…: the tests of a target that need another program, and so run here alone. Ends with `N passed, N failed`.
run_ignored() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast --run-ignored only "$@"
    else
        cargo test --locked --no-fail-fast "$@" -- --ignored
    fi
}
