"""The command line: what an operator types, and what each command runs.

What a command needs is loaded when it runs: the node that receives loads nothing of the others.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from db.migrate import DatabaseTooNew, RowsLost
from inference.errors import InferenceError
from inference.tensorrt_builder import ON_GPU
from node import bootstrap, config
from node.cli import explain, export_options, operate, retain
from node.cli.plain import reason
from node.config import ConfigError, Settings
from node.errors import NodeError

DEFAULT_CONFIG = Path("config.yaml")
CONFIG_WRONG = 2
"""Exit status where configuration, bundle, disk, port or database cannot be used; 1 is a command's
own failure."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    console = Console(highlight=False)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Console], int] = options.run
    try:
        return run(options, console)
    except (ConfigError, DatabaseTooNew, InferenceError, NodeError, RowsLost) as error:
        said = str(error)
    except (OSError, SQLAlchemyError, ImportError) as error:
        said = reason(error)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"petct-node: {said}", markup=False)
    return CONFIG_WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="petct-node", description=__doc__, epilog="Research use only."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _running(commands)
    _offline(commands)
    _operating(commands)
    return parser


def _running(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = _command(commands, "serve", "run the node: listener, clock and workers", _serve)
    _takes_config(serve)
    work = _command(commands, "work", "run one worker alone, on this or another host", _work)
    _takes_config(work)


def _offline(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = _command(commands, "process", "analyse a folder of DICOM without a network", _process)
    one.add_argument("folder", type=Path, metavar="DIR", help="searched with all folders below it")
    one.add_argument("--out", type=Path, required=True, help="where the results are written")
    _takes_config(one)
    show = _command(commands, "demo", "send a phantom study through a real node", _demo)
    show.add_argument("--out", type=Path, default=Path("demo-output"))
    drawn = _command(commands, "phantom", "write a drawn PET/CT study as DICOM", _phantom)
    drawn.add_argument("--seed", type=int, default=0)
    drawn.add_argument("--scanner", default="classic", help="see docs/operations.md")
    drawn.add_argument("--habit", default="siemens", help="siemens, ge, philips or gml")
    drawn.add_argument("--contour", action="store_true", help="with an RT Structure Set")
    drawn.add_argument("--out", type=Path, required=True)
    shown = _command(commands, "samples", "write one example of every object we send", _samples)
    shown.add_argument("--out", type=Path, required=True)
    shown.add_argument("--images", type=Path, metavar="DIR", help="write the drawn images, too")


def _operating(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    checked = _command(commands, "check", "check configuration, disk, database and peers", _check)
    checked.add_argument("--quick", action="store_true", help="do not call peers or load the model")
    checked.add_argument("--json", action="store_true", dest="as_json")
    _takes_config(checked)
    ran = _command(commands, "engines", "tell what networks can run on, build plans", _engines)
    ran.add_argument("--build", choices=ON_GPU, help="build the plans that are not there yet")
    _takes_config(ran)
    kept = _command(commands, "retain", "delete what the rules of retention let go", _retain)
    kept.add_argument("--dry-run", action="store_true", help="only list what would go, and why")
    _takes_config(kept)
    status = _command(commands, "status", "list the studies, where each is and why", _status)
    status.add_argument("--json", action="store_true", dest="as_json")
    status.add_argument("--limit", type=int, default=50, help="how many studies, newest first")
    _takes_config(status)
    outcomes = _command(commands, "outcomes", "print every study's outcome as CSV", _outcomes)
    _takes_config(outcomes)
    for name, text, run in (
        ("explain", "tell what happened to a study and what comes next", _explain),
        ("retry", "analyse a failed or refused study again", _retry),
    ):
        command = _command(commands, name, text, run)
        command.add_argument("study", metavar="STUDY_UID")
        _takes_config(command)
    exported = _command(commands, "export", "write studies as case folders for training", _export)
    export_options.add_arguments(exported)
    _takes_config(exported)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace, Console], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _takes_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, help=f"default: {DEFAULT_CONFIG}, else the built-in settings"
    )


def _settings(options: argparse.Namespace) -> Settings:
    if options.config is None and not DEFAULT_CONFIG.exists():
        return Settings()
    return config.read(options.config or DEFAULT_CONFIG)


def _serve(options: argparse.Namespace, _console: Console) -> int:
    return bootstrap.serve(_settings(options))


def _work(options: argparse.Namespace, _console: Console) -> int:
    return bootstrap.work_watched(_settings(options))


def _process(options: argparse.Namespace, console: Console) -> int:
    from node.cli import process

    return process.process(options.folder, options.out, _settings(options), console)


def _demo(options: argparse.Namespace, console: Console) -> int:
    from node.cli import demo

    return demo.demo(options.out, console)


def _phantom(options: argparse.Namespace, console: Console) -> int:
    from node.cli import demo

    return demo.write_phantom(
        options.out,
        console,
        seed=options.seed,
        scanner=options.scanner,
        habit=options.habit,
        contour=options.contour,
    )


def _samples(options: argparse.Namespace, console: Console) -> int:
    from node.cli import samples

    return samples.samples(options.out, console, images=options.images)


def _check(options: argparse.Namespace, console: Console) -> int:
    from node.cli import check

    settings = _settings(options)
    return check.check(settings, console, quick=options.quick, as_json=options.as_json)


def _engines(options: argparse.Namespace, console: Console) -> int:
    from node.cli import engines

    if options.build:
        return engines.build(_settings(options), options.build, console)
    return engines.show(_settings(options), console)


def _retain(options: argparse.Namespace, console: Console) -> int:
    return retain.retain(_settings(options), console, dry_run=options.dry_run)


def _status(options: argparse.Namespace, console: Console) -> int:
    settings = _settings(options)
    return operate.status(settings, console, limit=options.limit, as_json=options.as_json)


def _outcomes(options: argparse.Namespace, console: Console) -> int:
    return operate.outcomes(_settings(options), console)


def _explain(options: argparse.Namespace, console: Console) -> int:
    return explain.explain(options.study, _settings(options), console)


def _retry(options: argparse.Namespace, console: Console) -> int:
    return operate.retry(options.study, _settings(options), console)


def _export(options: argparse.Namespace, console: Console) -> int:
    from node.cli import export

    return export.run(options, _settings(options), console)
