"""`python -m tests.golden.regenerate` tells the story anew and replaces every golden file."""

from __future__ import annotations

from pathlib import Path

from tests.golden.files import HERE, golden_chain, golden_key, write
from tests.golden.stages import collected, log_of, published, steps
from tests.golden.story import captures


def regenerate(directory: Path = HERE) -> None:
    """Write the captures and all that follows from them under the chain and the key that lie here."""
    chain, heard = golden_chain(), captures()
    sent = collected(heard, chain, golden_key())
    write(directory, heard, sent | published(steps(log_of(sent["sightings.v1"]), chain)))


if __name__ == "__main__":
    regenerate()
