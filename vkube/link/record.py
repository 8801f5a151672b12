#!/usr/bin/env python3
"""Writes hot.txt: the functions that the control plane of an idle virtual cluster runs.

    record.py BINARY IDLE...

BINARY is the release build linked by `unstripped`, with its symbols and in the compiler's own order:

    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$PWD/vkube/link/unstripped cargo build --release --target-dir target/record

IDLE is what `valgrind --tool=callgrind --demangle=no` recorded of `vkube controlplane --name …` of that build, started by
hand beside a sandbox and left alone, with the environment and the service account of a pod. A module of which most is
run becomes one line.
"""

import pathlib
import re
import subprocess
import sys

# A line may bring in this many bytes that were not run, for each line that it saves.
SLACK = 1000
# What chooses its code by what the processor can do, which under valgrind is less.
BY_PROCESSOR = ("sha2",)
ESCAPES = {"LT": "<", "GT": ">", "RF": "&", "BP": "*", "LP": "(", "RP": ")", "C": ",", "SP": "@"}


def components(symbol):
    """The path of a Rust symbol, or the name of a C function; None for the standard library's own.

    Its last part is the hash, which tells the instances of a generic function apart. It is the same in every build
    with this compiler and these dependencies; after that its line names nothing, until the next recording.
    """
    match = re.match(r"_ZN(.*)E(\.[.\w]+)?$", symbol)
    if not match:
        return None if symbol.startswith("_R") else [symbol]
    rest, path = match.group(1), []
    while length := re.match(r"\d+", rest):
        start = length.end()
        end = start + int(length.group())
        path.append(rest[start:end])
        rest = rest[end:]
    return path


def readable(component):
    def character(match):
        name = match.group(1)
        return ESCAPES.get(name) or chr(int(name[1:], 16))

    if component.startswith("_$"):
        component = component[1:]
    return re.sub(r"\$(\w+?)\$", character, component.replace("..", "::"))


class Node:
    def __init__(self):
        self.children, self.run, self.size = {}, 0, 0

    def add(self, path, size, is_run):
        node = self
        for part in [None, *path]:
            node = node if part is None else node.children.setdefault(part, Node())
            node.size += size
            node.run += size * is_run

    def lines(self, path):
        """The cheapest set of lines for what was run below: (cost, lines)."""
        if not self.run:
            return 0, []
        parts = [child.lines([*path, name]) for name, child in sorted(self.children.items())]
        own = self.size - sum(child.size for child in self.children.values())
        whole = SLACK + self.size - self.run
        apart = sum(cost for cost, _ in parts)
        if path and (own or not parts or whole <= apart):
            return whole, ["::".join(path)]
        return apart, [line for _, lines in parts for line in lines]


def functions(recording):
    text = pathlib.Path(recording).read_text(errors="replace")
    return {re.sub(r"'\d+$", "", name) for name in re.findall(r"^c?fn=\(\d+\) (.+)$", text, re.M)}


def symbols(binary):
    listing = subprocess.run(
        ["nm", "--print-size", "--defined-only", binary], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        fields = line.split(None, 3)
        if len(fields) == 4 and fields[2] in "tT" and (path := components(fields[3])):
            yield fields[3], [readable(part) for part in path], int(fields[1], 16)


def main(binary, *recordings):
    lines = {}
    for recording in recordings:
        was_run, root = functions(recording), Node()
        for symbol, path, size in symbols(binary):
            root.add(path, size, symbol in was_run or path[0] in BY_PROCESSOR)
        lines.update(dict.fromkeys(root.lines([])[1]))
        print(f"{recording}: {root.run >> 10} of {root.size >> 10} KiB are run")
    target = pathlib.Path(__file__).with_name("hot.txt")
    target.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} lines")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
