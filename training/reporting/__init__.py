"""One page that tells a bundle's worth: ``petct-train report``.

``answers`` reads what a run left, ``judged`` puts it to ``training.statistics``, ``sections`` and
what they import say it in tables and figures, and ``page`` writes these as HTML.
"""
