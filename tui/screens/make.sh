#!/bin/sh
# Draws the pictures of the README out of a recording of a real cluster (record.sh made it), so that whoever runs this gets
# the same ones. With `fifty` it also starts fifty real nodes, and draws what the console shows of them.
#
#   cargo build --release --workspace && tui/screens/make.sh
set -eu
cd "$(dirname "$0")"
program=${RAFTDECK:-../../target/release/raftdeck}
unset NO_COLOR
export LC_ALL=C.UTF-8

# NAME RECORDING SIZE AT KEYS [LENGTH]
draw() {
  rm -f "$1.svg"
  "$program" --config /dev/null --theme dark replay "$2" --svg "$1.svg" --size "$3" --at "$4" --keys "$5" ${6:+--for "$6"}
}

draw healthy demo.jsonl 120x40 1s ''
draw killed demo.jsonl 120x40 1100ms ''
draw votes demo.jsonl 80x24 1700ms '3'
draw split demo.jsonl 120x40 5100ms ''
draw split-80x24 demo.jsonl 80x24 5100ms ''
draw split-200x60 demo.jsonl 200x60 5100ms ''
draw faults demo.jsonl 80x24 9s '7'
draw demo demo.jsonl 120x40 500ms '' 8500ms

if [ "${1:-}" = fifty ]; then
  dir=$(mktemp -d)
  unset TMUX
  trap '"$program" --dir "$dir" down; rm -rf "$dir"' EXIT
  "$program" --dir "$dir" up --nodes 50 --bg
  "$program" --dir "$dir" record "$dir/fifty.jsonl" --for 5s
  draw fifty "$dir/fifty.jsonl" 120x40 5s ''
fi
