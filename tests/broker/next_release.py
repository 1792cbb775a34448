"""`footfall stream` of a pretended next release: its presences have one field more, and its state another format."""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np
from footfall_streams import presences, state

OLD_FORMAT = state.FORMAT


def pretend() -> None:
    """Before anything else takes the rows' layout: what a release does that changes it."""
    old = presences.PRESENCE
    setattr(state, "FORMAT", OLD_FORMAT + 1)  # noqa: B010  a release sets it
    wider = np.dtype([*((name, old[name]) for name in old.names or ()), ("visits_before", "<u4")])
    setattr(presences, "PRESENCE", wider)  # noqa: B010  as above


def main(environ: dict[str, str]) -> int:
    pretend()
    # Only now: it imports the fold, which keeps the layout that it finds.
    from footfall_streams import command

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(), environ)


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))  # noqa: TID251  it stands in for the command, which reads the environment
