#!/bin/sh
# Lint the contract and compare it with the last commits, where Node is there: buf.sh "BUF COMMAND"
set -eu
buf=$1

command -v npx >/dev/null || {
    echo "buf: not checked, because Node is not installed"
    exit 0
}
$buf lint
$buf format --diff --exit-code
# The last commit shows what is not committed yet; the one before shows what the last one changed.
for commit in HEAD HEAD~1; do
    if git cat-file -e "$commit:protos" 2>/dev/null; then
        $buf breaking --against ".git#ref=$(git rev-parse "$commit")"
    fi
done
echo "buf: the contract is in order"
