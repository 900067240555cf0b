"""``petct-node retain``: what retention deletes now, or would delete, and why."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from node import bootstrap
from node.config import Settings


def retain(settings: Settings, console: Console, *, dry_run: bool) -> int:
    """Delete what may go by the rules of ``retention``, or only list it; return 0."""
    engine = bootstrap.open_database(settings)
    store = bootstrap.open_store(settings)
    with bootstrap.record_of(settings) as record:
        keeping = bootstrap.build_retention(settings, engine, store, record)
        now = bootstrap.now()
        doomed = keeping.plan(now) if dry_run else keeping.retain(now)
    engine.dispose()
    table = Table("study", "what", "files", "MB", "why")
    for one in doomed:
        what = one.candidate
        size = f"{what.size / 1e6:.1f}"
        row = (what.study_instance_uid, what.kind, str(what.count), size, escape(one.why))
        table.add_row(*row)
    if doomed:
        console.print(table)
    count = sum(one.candidate.count for one in doomed)
    freed = sum(one.candidate.size for one in doomed)
    verb = "would be" if dry_run else "are"
    console.print(f"{count} files ({freed / 1e6:.1f} MB) {verb} deleted")
    return 0
