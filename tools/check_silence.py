#!/usr/bin/env python3
"""The library never prints and never ends the program: none of its archives may use a symbol that does.  Usage: check_silence.py ARCHIVE...

Archives are the layers below the command line.  assert() is allowed: it is for broken promises inside the library; so is
std::terminate, which the compiler itself puts where an exception meets noexcept.
"""
import re
import subprocess
import sys

FORBIDDEN = {
    # prints
    "printf", "vprintf", "__printf_chk", "__vprintf_chk", "puts", "putchar", "perror", "stdout", "stderr", "psignal",
    "std::cout", "std::cerr", "std::clog", "std::wcout", "std::wcerr",
    # ends the program
    "exit", "_exit", "_Exit", "quick_exit", "abort",
}


def undefined(archive):
    """(object file, symbol) for everything that the archive uses and does not define, C++ names readable, versions removed."""
    listing = subprocess.run(["nm", "-C", "-A", "--undefined-only", archive], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        match = re.match(r".*?:([^:]+):\s+U (.+)$", line)
        if match:
            yield match[1], re.sub(r"(\(.*\)|@.*)$", "", match[2])


archives = sys.argv[1:]
found, seen = [], 0
for archive in archives:
    for member, symbol in undefined(archive):
        seen += 1
        if symbol in FORBIDDEN:
            found.append(f"{archive}({member}): uses {symbol}; throw Error through check(), or say it through a Log")
if not seen:
    found.append("check_silence.py: nm found no symbols at all; expected the archives of the library")
print("\n".join(found) or f"silence: no fault in {len(archives)} archives")
sys.exit(bool(found))
