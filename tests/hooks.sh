#!/bin/bash
# The git hooks as people meet them: real repositories, real pushes, and the muster given by $MUSTER.
#
#   MUSTER=target/debug/muster tests/hooks.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hooks=$here/../hooks
example=$here/../state-repo-example

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin" "$scratch/nothing"
ln -s "$(realpath "${MUSTER:?the muster to test}")" "$scratch/bin/muster"

# Nothing of whoever runs this reaches git.
unset "${!GIT_@}"
export HOME=$scratch GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Mira GIT_AUTHOR_EMAIL=mira@tidewater.example GIT_COMMITTER_NAME=Mira GIT_COMMITTER_EMAIL=mira@tidewater.example
without_muster=$PATH
export PATH=$scratch/bin:$PATH

passed=0 failed=0
# accepts|refuses WHAT [WORDS] -- COMMAND…: whether the command succeeds, and says WORDS.
accepts() { expect 0 "$@"; }
refuses() { expect 1 "$@"; }
expect() {
    local wanted=$1 what=$2 words="" code=0
    shift 2
    [[ $1 == -- ]] || { words=$1 && shift; }
    shift
    "$@" >"$scratch/said" 2>&1 || code=$?
    if (((code != 0) == wanted)) && grep -qF -- "$words" "$scratch/said"; then
        passed=$((passed + 1))
        printf 'PASS  %s\n' "$what"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s (exit code %s)\n' "$what" "$code"
        sed 's/^/      /' "$scratch/said"
    fi
}

origin=$scratch/origin.git
work=$scratch/work
git init --quiet --bare --initial-branch=main "$origin"
cp "$hooks/pre-receive" "$hooks/post-receive" "$origin/hooks/"
git init --quiet --initial-branch=main "$work"
cp -R "$example/." "$work/"
cd "$work"
git remote add origin "$origin"
git add .
git commit --quiet -m 'the team'

spoil() { sed -i '0,/tier: power-user/s//tier: emperor/' roster.yaml; }

accepts "the example is pushed" -- git push origin main

spoil
git commit --quiet -am 'no such tier'
refuses "an invalid main is refused, and the line is said" roster.yaml -- git push origin main
accepts "a draft on another branch is nobody's business" -- git push origin main:draft
git reset --quiet --hard HEAD~1

git -C "$origin" symbolic-ref refs/heads/alias refs/heads/main
spoil
git commit --quiet -am 'no such tier, by another name'
refuses "an alias of main is main" roster.yaml -- git push origin main:alias
git -C "$origin" symbolic-ref --delete refs/heads/alias
git reset --quiet --hard HEAD~1

printf 'roster.yaml export-ignore\n' >.gitattributes
git add .gitattributes
spoil
git commit --quiet -am 'hidden by an attribute'
refuses "attributes hide nothing" roster.yaml -- git push origin main
git reset --quiet --hard HEAD~1

git commit --quiet --amend -m 'the team, rewritten'
refuses "main cannot be rewritten" "cannot be rewritten" -- git push --force origin main
git reset --quiet --hard origin/main
git -C "$origin" config receive.denyDeleteCurrent ignore
refuses "main cannot be deleted" "cannot be deleted" -- git push origin :main

git commit --quiet --allow-empty -m 'an empty commit'
refuses "no muster on the server, no push" "muster is not installed" -- env PATH="$without_muster" git push origin main
printf '#!/bin/sh\nexit 70\n' >"$scratch/nothing/muster"
chmod +x "$scratch/nothing/muster"
refuses "a muster that fails, no push" "exit code 70" -- env PATH="$scratch/nothing:$without_muster" git push origin main
accepts "and with muster it goes through" -- git push origin main

cp "$hooks/pre-commit" .git/hooks/
spoil
refuses "an invalid commit is refused" roster.yaml -- git commit -am 'no such tier'
git add roster.yaml
git show HEAD:roster.yaml >roster.yaml
refuses "what is staged counts, not what lies beside" roster.yaml -- git commit -m 'no such tier'
git reset --quiet --hard
accepts "a valid commit is made" -- git commit --allow-empty -m 'another empty commit'

printf '%s passed, %s failed\n' "$passed" "$failed"
((failed == 0))
