"""`make chaos`: one campaign, its verdict as one JSON object on the last line; exit code 1 if it is not exact."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.campaign import Campaign, say
from tests.chaos.faults import drawn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what goes wrong, and when (default 1)")
    parser.add_argument("--faults", type=int, default=40, help="how many faults (default 40)")
    parser.add_argument("--every-s", type=float, default=6.0, help="seconds between two faults, on average (default 6)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave logs and data there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="footfall-chaos-", ignore_cleanup_errors=True) as temporary:
        directory = args.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(directory, args.seed, drawn(args.seed), args.faults, args.every_s)
        verdict = campaign.run()
        for line in verdict.details[:50]:
            say(line)
        numbers = {name: value for name, value in asdict(verdict).items() if name != "details"}
        result = {"faults": len(campaign.kinds), **numbers, "recovery_p95_s": campaign.recovery_p95_s()}
        sys.stdout.write(json.dumps({**result, "seed": args.seed}) + "\n")
    return 0 if verdict.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
