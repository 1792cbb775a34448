"""Bursts of frames, and the sightings that the stable ones among them are."""

from __future__ import annotations

from tests.oracle.frames import RANDOM
from tests.oracle.store_settings import Row


def bursts_of(decisions: list[Row]) -> list[Row]:
    """Every burst of one sensor's counted frames, random ones included, by first frame."""
    bursts: list[Row] = []
    open_bursts: dict[tuple[str, int], Row] = {}
    for frame in decisions:
        if frame["outcome"] != "counted":
            continue
        who = (frame["mac"], frame["address_class"])
        burst = open_bursts.get(who)
        if burst is None or _opens_another(burst, frame):
            burst = {
                "mac": frame["mac"],
                "address_class": frame["address_class"],
                "first_ms": frame["time_ms"],
                "last_ms": frame["time_ms"],
                "rssi_dbm": None,
                "frames": 0,
                "freq_mhz": frame["freq_mhz"],
                "frame_kinds": 0,
            }
            bursts.append(burst)
            open_bursts[who] = burst
        burst["last_ms"] = frame["time_ms"]
        burst["frames"] = min(burst["frames"] + 1, 65535)
        burst["frame_kinds"] |= frame["kind"]
        if frame["rssi_dbm"] is not None and (burst["rssi_dbm"] is None or frame["rssi_dbm"] > burst["rssi_dbm"]):
            burst["rssi_dbm"] = frame["rssi_dbm"]
    return bursts


def _opens_another(burst: Row, frame: Row) -> bool:
    now_ms: int = frame["time_ms"]
    if now_ms - burst["last_ms"] > 1000 or now_ms - burst["first_ms"] > 10_000:
        return True
    return frame["address_class"] == RANDOM and bool(now_ms // 60_000 != burst["first_ms"] // 60_000)


def sightings_of(bursts: list[Row]) -> list[Row]:
    """The stable bursts as sightings, still under the raw address (`mac`)."""
    return [
        {
            "mac": burst["mac"],
            "observed_ms": burst["first_ms"],
            "span_ms": burst["last_ms"] - burst["first_ms"],
            "rssi_dbm": burst["rssi_dbm"],
            "frames": burst["frames"],
            "freq_mhz": burst["freq_mhz"],
            "address_class": burst["address_class"],
            "frame_kinds": burst["frame_kinds"],
        }
        for burst in bursts
        if burst["address_class"] != RANDOM
    ]
