"""`python -m bench` runs every measurement and writes RESULTS.md; `python -m bench NAME ...` runs and prints some."""

import importlib
import sys

from bench import report

NAMES = ("submit", "reads", "metrics", "upload", "download", "large", "encrypted", "claims", "first_step", "api_process")


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"no measurement {', '.join(unknown)}; there are {', '.join(NAMES)}")
    rows = []
    for name in names or NAMES:
        for row in importlib.import_module(f"bench.{name}").rows():
            print(row, flush=True)
            rows.append(row)
    if not names:
        report.write(rows)


main(sys.argv[1:])
