"""Bars for everything that takes more than two seconds, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[str], None]
"""One step is done; the text stands behind the bar until the next one."""


class Track:
    """Shows one bar a stage, or nothing where it is quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextmanager
    def stage(self, title: str, steps: int) -> Iterator[Advance]:
        """Show a bar of ``steps`` while the block runs."""
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[told]}"),
        )
        with Progress(*columns, console=Console(stderr=True), disable=self._quiet) as bars:
            bar = bars.add_task(title, total=steps, told="")

            def advance(told: str = "") -> None:
                bars.update(bar, advance=1, told=told)

            yield advance
