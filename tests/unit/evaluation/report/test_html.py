import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from archroute_evaluation.report.html import html_report
from archroute_evaluation.report.report import Report


class Text(HTMLParser):
    """What a page says, and what it consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_says_everything(report: Report, awkward: str) -> None:
    page = Text(html_report(report).decode())
    said = " ".join(" ".join(page.words).split())
    for expected in (
        "3 of 4 examples answered by models/tiny",
        "1 failed with UNAVAILABLE (SERVER_STOPPING): line 5",
        "temperature 1.5",
        "turn accuracy 33.3 %",
        "1 of 3 examples, 1 of 6 answers; 2 requests failed",
        "rewording flips not measured",
        "Accuracy by language",
        "Accuracy by source",
        awkward,
    ):
        assert expected in said
    # Reliability, risk and coverage, policies, turns, languages, sources, confusions.
    assert page.tags.count("svg") == 7


def test_names_are_escaped_everywhere(report: Report) -> None:
    page = html_report(report).decode()
    assert "<b>" not in page
    assert "&lt;b&gt;$x^2$&lt;/b&gt;" in page


def test_the_plots_are_well_formed_and_keep_names_as_they_are(report: Report, awkward: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", html_report(report).decode(), re.DOTALL)
    texts = [
        text.text
        for drawing in drawings
        for text in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert f"{awkward} → code" in texts


def test_the_page_loads_nothing(report: Report) -> None:
    page = html_report(report).decode()
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(\s*['\"]?(?!#)", page)


def test_the_same_report_is_the_same_page(report: Report) -> None:
    assert html_report(report) == html_report(report)


def test_text_is_shown_only_where_it_may_be(report: Report, report_with_text: Report, secret: str) -> None:
    assert secret not in html_report(report).decode()
    shown = html_report(report_with_text).decode()
    assert f"user: {secret}" in shown
    assert "<script>" not in shown
