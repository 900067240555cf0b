"""The page as PDF, by WeasyPrint; nothing is fetched."""

from collections.abc import Callable
from pathlib import Path

HOW = "Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def printer() -> Callable[[str, Path], None]:
    """Return what writes HTML as PDF; ``OSError`` says what is missing for it."""
    try:
        # It looks for Pango when it is imported, which only this needs.
        import weasyprint  # noqa: PLC0415
    except ImportError as error:
        raise OSError("--pdf needs the package weasyprint (extra train)") from error
    except OSError as error:
        raise OSError(f"--pdf needs Pango ({HOW}): {error}") from error

    def write(html: str, path: Path) -> None:
        fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data",))
        document = weasyprint.HTML(string=html, url_fetcher=fetcher)
        # An identifier of its own instead of a random one: the same page gives the same bytes.
        document.write_pdf(path, pdf_identifier=b"petct-train report", pdf_tags=True)

    return write
