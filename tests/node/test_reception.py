"""What came is taken in, and that an association ended is told to who waits for it."""

from node.audit import ignore
from node.reception import Reception


class Taken:
    """An intake that only hears which associations ended."""

    def __init__(self):
        self.ended = []

    def closed(self, association):
        self.ended.append(association)


def test_an_association_that_ended_is_news_once():
    intake = Taken()
    reception = Reception(intake, ignore)

    assert not reception.has_news()
    reception.closed("1")
    reception.closed("2")
    assert intake.ended == ["1", "2"]
    assert reception.has_news()
    assert not reception.has_news()
