"""Tasks run by the clock, and at once where there is news."""

import threading

from node import schedule


def test_a_task_runs_at_once_where_there_is_news(monkeypatch):
    """An interval of an hour: whatever runs within a minute runs for the news."""
    monkeypatch.setattr(schedule, "INTERVAL_S", 3600)
    ran, news = threading.Event(), threading.Event()

    def has_news():
        there, _ = news.is_set(), news.clear()
        return there

    scheduler = schedule.start({"delivery": ran.set})
    try:
        with schedule.heeding(has_news, scheduler, "delivery"):
            assert not ran.wait(0.1)
            news.set()
            assert ran.wait(60)
    finally:
        scheduler.shutdown()
