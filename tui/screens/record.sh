#!/bin/sh
# Records what is shown in the pictures: a real cluster whose leader is killed, comes back, and whose next leader is cut off
# with one follower. It takes 15 seconds.
#
#   cargo build --release --workspace && tui/screens/record.sh tui/screens/demo.jsonl [NODES]
set -eu
file=$1
nodes=${2:-5}
program=${RAFTDECK:-$(dirname "$0")/../../target/release/raftdeck}
dir=$(mktemp -d)
unset TMUX
call() { "$program" --dir "$dir" "$@"; }
trap 'call down; rm -rf "$dir"' EXIT
leader() { call status --json | sed 's/.*"leader":"\([^"]*\)","term".*/\1/'; }

call up --nodes "$nodes" --enable-faults --bg
call submit echo 'one' --wait
rm -f "$file"
call record "$file" --for 14s &
recorder=$!
sleep 1
call submit echo 'two' --wait
first=$(leader)
call kill "$first"
sleep 2
call submit echo 'three' --wait
call restart "$first"
sleep 1.5
second=$(leader)
rest=
for node in $(seq -f 'n%g' "$nodes"); do
  case $node in "$first" | "$second") ;; *) rest=${rest:+$rest,}$node ;; esac
done
# Of three nodes the leader alone, of more with one follower: the rest are a majority.
side=$second
[ "$nodes" -lt 5 ] && rest=$first,$rest || side=$second,$first
api=$(call status --json | sed "s/.*\"id\":\"$second\",\"api\":\"\([^\"]*\)\".*/\1/")
call cut "$side" / "$rest" --for 60s
# The leader that is cut off takes it and cannot commit it; whoever submits it goes on to the next one.
"$program" submit echo 'three and a half' --connect "$api" --wait &
sleep 3
call submit echo 'four' --wait
call heal
wait "$recorder"
