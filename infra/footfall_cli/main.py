"""The `footfall` command: every stage, the embedded stack, and the tools around them."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from footfall_events.errors import ConfigError, FootfallError

Run = Callable[[argparse.Namespace, Mapping[str, str]], int]

# name of the command: (module with add_arguments and run, one line of help, example)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": (
        "footfall_cli.demo",
        "simulate a chain, run the whole pipeline on it, compare with the truth",
        "footfall demo --stores 3 --days 3 --keep",
    ),
    "replay": (
        "footfall_cli.replay",
        "run the whole pipeline on capture files",
        'footfall replay day.pcap --store north --sql "SELECT * FROM footfall.store_days"',
    ),
    "simulate": (
        "footfall_cli.simulator_command",
        "write captures of a chain whose truth is known",
        "footfall simulate out/ --stores 20 --days 7 --seed 1",
    ),
    "collect": (
        "footfall_collectors.command",
        "hear phones: capture files, standard input or an interface to Kafka",
        "footfall collect --config chain.toml --store north --interface mon0 --sensor north-door --key-file key.toml",
    ),
    "stream": (
        "footfall_streams.command",
        "turn sightings into visits and store minutes",
        "footfall stream --config chain.toml --bootstrap kafka:9092",
    ),
    "sink": (
        "footfall_sinks.command",
        "write visits and minutes to ClickHouse",
        "footfall sink --clickhouse http://clickhouse:8123 --bootstrap kafka:9092",
    ),
    "keys": (
        "footfall_cli.keys_command",
        "make the key that pseudonyms rest on",
        "footfall keys init --config chain.toml --key-file key.toml",
    ),
    "kafka": (
        "footfall_cli.kafka_command",
        "run Apache Kafka here, one broker or three",
        "footfall kafka start --brokers 3",
    ),
    "topics": (
        "footfall_cli.topics_command",
        "create Kafka's topics",
        "footfall topics apply --bootstrap kafka:9092 --replication 3",
    ),
    "deadletters": (
        "footfall_cli.deadletters_command",
        "see what could not be processed, send it back after a fix, get past a batch that stops every worker",
        "footfall deadletters list --bootstrap kafka:9092",
    ),
    "schema": (
        "footfall_cli.schema_command",
        "create ClickHouse's tables and views",
        "footfall schema apply --clickhouse http://clickhouse:8123 --config chain.toml",
    ),
    "calibrate": (
        "footfall_cli.calibrate_command",
        "learn what a person sounds like in a store, from captures and the people who were there",
        "footfall calibrate --store north --truth counted.csv day.pcap --out north.json",
    ),
    "estimate": (
        "footfall_cli.estimate_command",
        "work out the people inside for every date whose minutes or calibration are newer than its estimates",
        "footfall estimate --clickhouse http://clickhouse:8123 --follow 30",
    ),
    "evaluate": (
        "footfall_cli.evaluate_command",
        "compare a calibration's estimates with the people who were there",
        "footfall evaluate --calibration north.json --truth counted.csv day.pcap --plot day.png",
    ),
    "stores": (
        "footfall_cli.stores_command",
        "check the chain's configuration",
        "footfall stores check infra/chain.example.toml",
    ),
}


def parse(arguments: Sequence[str]) -> tuple[Run, argparse.Namespace]:
    """The command's function and its options; argparse exits with 2 and its usage for anything wrong."""
    parser = argparse.ArgumentParser(
        prog="footfall",
        description="Visitor numbers a retail chain can trust, from what its Wi-Fi hears.",
        epilog="Each command has its own --help with an example. Start with: footfall demo",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs: dict[str, Run] = {}
    chosen = next((word for word in arguments if word in COMMANDS), None)
    for name, (module, text, example) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Only the chosen command's stage is imported: a sensor installs neither Faust nor ClickHouse's client.
        if name == chosen:
            stage = _import(name, module)
            stage.add_arguments(command)
            runs[name] = stage.run
    options = parser.parse_args(arguments)
    return runs[options.command], options


def _import(command: str, module: str) -> _Stage:
    try:
        return importlib.import_module(module)  # type: ignore[return-value]
    except ModuleNotFoundError as error:
        raise ConfigError(
            [f"`footfall {command}` needs the package {error.name}: install footfall[embedded], or the stage's extra"]
        ) from error


class _Stage:
    """What every command module offers."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit code 0, 1 for a failure, 2 for a configuration that can never work."""
    try:
        run, options = parse(sys.argv[1:] if arguments is None else arguments)
        return run(options, dict(os.environ))  # noqa: TID251  the one place that reads the environment
    except ConfigError as error:
        for problem in error.problems:
            print(f"footfall: {problem}", file=sys.stderr)
        return 2
    except FootfallError as error:
        print(f"footfall: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def footfall(*arguments: str | Path) -> list[str]:
    """Command line that runs this command again as a child."""
    return [sys.executable, "-m", "footfall_cli.main", *map(str, arguments)]


if __name__ == "__main__":
    sys.exit(main())
