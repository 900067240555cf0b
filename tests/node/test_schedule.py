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


def test_news_that_are_waited_for_are_not_asked_for_in_between(monkeypatch):
    """Who waits comes back once, with news; the next wait is longer than the test."""
    monkeypatch.setattr(schedule, "INTERVAL_S", 3600)
    ran, bell, asked = threading.Event(), threading.Event(), []

    def wait(at_most_s):
        bell.wait(60)

    def has_news():
        asked.append(bell.is_set())
        bell.clear()
        return asked[-1]

    scheduler = schedule.start({"delivery": ran.set})
    try:
        with schedule.heeding(has_news, scheduler, "delivery", wait):
            bell.set()
            assert ran.wait(60)
            bell.set()
    finally:
        scheduler.shutdown()
    assert all(asked)
