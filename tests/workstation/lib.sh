# What the scripts beside this one share; sourced by them, never run.
# shellcheck shell=bash
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster
machines=$cache/machines

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Sets $machine, $dir and $root from a name given on the command line.
name_machine() {
    machine=${1:?a machine name is needed, such as ws1}
    [[ $machine =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "'$machine' is no machine name: use a-z, 0-9 and -"
    dir=$machines/$machine
    # shellcheck disable=SC2034
    root=$dir/root
}

# The process id of the systemd-nspawn that runs this machine; fails when none does.
# The recorded id alone proves nothing, since the kernel hands ids out again.
container() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "--machine=$machine" || return 1
    printf '%s\n' "$pid"
}

# The process id, out here, of the machine's own init.
leader() {
    local pid
    pid=$(container) || return 1
    pgrep -P "$pid"
}

# The image is one tree, made once and named after everything that decides what is in it.
image() {
    local key
    key=$(sha256sum "$here/make-image" | cut -c1-16)
    printf '%s/workstation-%s\n' "$cache" "$key"
}
