"""Bytes as a bad disk, a bad program or a bad hand leaves them."""

from __future__ import annotations

from random import Random


def damage(value: bytes, seed: int) -> bytes:
    """Some bytes changed, cut off, taken out, doubled or put in."""
    rng, damaged = Random(seed), bytearray(value)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(damaged) + 1)
        length = rng.choice((1, 1, 4, 8, 64))
        match rng.randrange(6):
            case 0 | 1:
                damaged[at : at + 1] = bytes([rng.choice((0, 255, rng.randrange(256)))])
            case 2:
                damaged[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "little")
            case 3:
                del damaged[at : at + length]
            case 4:
                damaged[at:at] = damaged[at : at + length]
            case _:
                del damaged[at:]
    return bytes(damaged)
