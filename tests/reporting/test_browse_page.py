"""The page of all answers in a real browser: each view, each filter, addresses, keys, hostility."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

import pages
from browsers import go, looked_at, settle
from infuse.core.files import read_rows
from infuse.core.schemas import PREDICTIONS, RATED, TEXT_REASONING_LABEL

Row = dict[str, Any]
Pair = tuple[Row, Row | None]  # answers of an arm and of another, with the same seed

ARMS = {
    "label": pages.LABEL,
    "same": pages.LABEL | {"match": {"steps": "why", "supervised_tokens": None}},
    "keywords": pages.WHY | {"reasons": "keywords"},
    "why": pages.WHY,
}
STUDY = pages.Study(
    arms=ARMS, rates={"why": 0.8}, first=["a word that stands nowhere else: quixotry"]
)
RATED_STUDY = pages.Study(labels=tuple("12345"), rated=True, rates={"why": 0.8})
VIEWS = ("arms", "confusion?arm=why&against=label", "texts?arm=why&against=label", "reasonings",
         "ratings", "about")  # fmt: skip


class Study:
    """A page, and the answers it was made from."""

    def __init__(self, root: Path, study: pages.Study) -> None:
        self.file, self.made, self.root = pages.page(root, study), study, root

    def answers(self, arm: str, seed: int) -> list[Row]:
        """What a run made of each text."""
        file = self.root / f"predictions {arm}-seed{seed}/predictions.parquet"
        return read_rows(file, PREDICTIONS)

    def pairs(self, arm: str, against: str | None = None) -> list[Pair]:
        """The answers of an arm, in the order of texts and then of seeds."""
        seeds = [self.answers(arm, seed) for seed in self.made.seeds]
        others = [self.answers(against, seed) for seed in self.made.seeds] if against else None
        texts = range(self.made.test)
        return [
            (rows[text], others[place][text] if others else None)
            for text in texts
            for place, rows in enumerate(seeds)
        ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("plain") / "study", STUDY)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("rated") / "study", RATED_STUDY)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with looked_at(browser) as opened:
        yield opened


def count(page: Any) -> int:
    """How many answers or reasonings the present list has."""
    matched = re.match(r"[\d,]+", page.inner_text(".count"))
    assert matched
    return int(matched[0].replace(",", ""))


def right(row: Row | None) -> bool:
    return row is not None and row["outcome"] == "right"


def sureness(row: Row) -> float:
    """The closed-set probability of the answer; of the likeliest label, where there is none."""
    scores = np.array(row["log_probabilities"])
    chances = np.exp(scores - np.logaddexp.reduce(scores))
    return float(
        chances[pages.EMOTIONS.index(row["predicted"])] if row["predicted"] else chances.max()
    )


def test_arms_are_those_of_the_tables_and_lead_to_their_texts(page: Any, plain: Study) -> None:
    go(page, plain.file)
    table = page.get_by_role("region", name="Arms")
    assert table.locator("tbody tr").count() == len(ARMS) + 2  # and two floors
    for arm in ARMS:
        rows = [row for row, _ in plain.pairs(arm)]
        line = table.locator("tbody tr", has=page.get_by_role("link", name=arm, exact=True))
        accuracy = 100 * sum(map(right, rows)) / len(rows)
        assert line.locator("strong").inner_text() == f"{accuracy:.1f}"
    table.get_by_role("link", name="keywords", exact=True).click()
    settle(page)
    assert page.url.endswith("#texts?arm=keywords")
    assert page.locator(".answer h3").inner_text() == "keywords seed 1"


def test_a_table_sorts_by_its_heads(page: Any, plain: Study) -> None:
    go(page, plain.file)
    table = page.get_by_role("region", name="Arms")
    head = page.get_by_role("button", name="accuracy, %")
    for order, sign in (("descending", -1), ("ascending", 1)):
        head.click()
        shown = [float(cell) for cell in table.locator("strong").all_inner_texts()]
        assert shown == sorted(shown, key=lambda share: sign * share)
        assert table.locator("th", has=head).get_attribute("aria-sort") == order
    page.get_by_role("link", name="All columns").click()
    settle(page)
    assert table.get_by_role("button", name="supervised tokens").count() == 1


def test_curves_have_a_line_for_each_seed_and_a_dot_for_each_evaluation(
    page: Any, plain: Study
) -> None:
    go(page, plain.file)
    chart = page.get_by_role("img", name="Losses of why")
    assert chart.locator("path.plain").count() == len(STUDY.seeds)
    assert chart.locator("circle").count() == 4 * len(STUDY.seeds)
    base = page.get_by_role("img", name="Losses of base scratch")
    assert base.locator("path.plain").count() == 1
    assert page.get_by_role("img", name=re.compile("Losses of")).count() == 1 + len(ARMS)


def test_every_cell_of_a_confusion_leads_to_as_many_answers(page: Any, plain: Study) -> None:
    rows = [row for row, _ in plain.pairs("why")]
    go(page, plain.file, "confusion?arm=why")
    names = [*pages.EMOTIONS, "no answer"]
    cells = page.locator(".matrix tbody tr").all()
    shown = [[int(cell) for cell in line.locator("td").all_inner_texts()] for line in cells]
    for label, line in zip(pages.EMOTIONS, shown, strict=True):
        for said, number in zip(names, line, strict=True):
            given = "" if said == "no answer" else said
            assert number == sum((r["label"], r["predicted"]) == (label, given) for r in rows)
    page.locator(".matrix a", has_text=re.compile(r"^\d+$")).nth(1).click()
    settle(page)
    query = dict(re.findall(r"(label|predicted)=([^&]+)", page.url))
    place = pages.EMOTIONS.index(query["label"]), names.index(query["predicted"].replace("+", " "))
    assert count(page) == shown[place[0]][place[1]]


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("both", lambda a, b: right(a) and right(b)),
        ("first", lambda a, b: right(a) and not right(b)),
        ("second", lambda a, b: not right(a) and right(b)),
        ("neither", lambda a, b: not right(a) and not right(b)),
    ],
)
def test_the_four_cells_of_two_arms_lead_to_their_texts(
    page: Any, plain: Study, name: str, test: Callable[..., bool]
) -> None:
    expected = [pair for pair in plain.pairs("why", "label") if test(*pair)]
    go(page, plain.file, "confusion?arm=why&against=label")
    assert page.locator(".matrix").count() == 2
    cell = page.locator(f".four a[href*='cell={name}']")
    assert cell.locator("strong").inner_text() == str(len(expected))
    cell.click()
    settle(page)
    assert count(page) == len(expected)
    if expected:
        (row, other) = expected[0]
        assert page.locator(".detail > .text").inner_text() == row["text"]
        assert page.locator(".answer").count() == 2
        for part, said in zip(page.locator(".answer").all(), (row, other), strict=True):
            verdict = part.locator(".verdict").inner_text()
            assert (said["predicted"] or "no answer") in verdict
            assert ("\u2713" in verdict) == right(said)


def test_where_two_arms_differ_adds_up_over_labels(page: Any, plain: Study) -> None:
    pairs = plain.pairs("why", "label")
    go(page, plain.file, "confusion?arm=why&against=label")
    table = page.get_by_role("region", name="Where they differ")
    for name in ("first", "second"):
        cells = table.locator(f"a[href*='cell={name}']").all_inner_texts()
        shown = sum(int(cell) for cell in cells)
        assert shown == sum(
            right(a) != right(b) and right(a if name == "first" else b) for a, b in pairs
        )


FILTERS: list[tuple[dict[str, str], Callable[[Row, Row | None], bool]]] = [
    ({}, lambda a, b: True),
    ({"label": "joy"}, lambda a, b: a["label"] == "joy"),
    ({"predicted": "fear"}, lambda a, b: a["predicted"] == "fear"),
    ({"predicted": " "}, lambda a, b: not a["predicted"]),
    ({"outcome": "right"}, lambda a, b: right(a)),
    ({"outcome": "error"}, lambda a, b: not right(a)),
    ({"outcome": "wrong"}, lambda a, b: a["outcome"] == "wrong"),
    ({"outcome": "no_answer"}, lambda a, b: a["outcome"] == "no_answer"),
    ({"against": "label", "cell": "first"}, lambda a, b: right(a) and not right(b)),
    ({"q": "QUIXOTRY"}, lambda a, b: "quixotry" in a["text"] + a["reasoning"]),
    ({"q": "no such word"}, lambda a, b: False),
    ({"label": "joy", "outcome": "error"}, lambda a, b: a["label"] == "joy" and not right(a)),
]


@pytest.mark.parametrize(("wanted", "test"), FILTERS)
def test_a_filter_leaves_the_answers_that_are_like_it(
    page: Any, plain: Study, wanted: dict[str, str], test: Callable[[Row, Row | None], bool]
) -> None:
    """By the address, and by hand: both show what the answers themselves say."""
    expected = [pair[0] for pair in plain.pairs("why", wanted.get("against")) if test(*pair)]
    go(page, plain.file, "texts?" + urlencode({"arm": "why"} | wanted))
    shown = page.locator(".lines .written").all_text_contents()
    assert count(page) == len(expected)
    assert shown == [row["text"] for row in expected][: len(shown)]
    go(page, plain.file, "texts?arm=why")
    page.locator("summary").click()
    for name, value in wanted.items():
        if name == "q":
            page.get_by_role("searchbox").press_sequentially(value)
        else:
            page.locator(f"select[name={name}]").select_option(value)
    assert count(page) == len(expected)
    assert all(page.locator(f"[name={name}]").input_value() for name in wanted)


def test_a_seed_alone(page: Any, plain: Study) -> None:
    go(page, plain.file, "texts?arm=why")
    page.locator("select[name=seed]").select_option("2")
    assert count(page) == STUDY.test
    assert page.locator(".answer h3").inner_text() == "why seed 2"


def test_surest_mistakes_come_first(page: Any, plain: Study) -> None:
    wrong = [row for row, _ in plain.pairs("why") if not right(row)]
    wrong.sort(key=lambda row: -sureness(row))
    go(page, plain.file, "texts?arm=why")
    page.get_by_role("link", name="Surest mistakes").click()
    settle(page)
    assert page.locator(".lines .written").all_text_contents() == [row["text"] for row in wrong]
    assert page.locator("select[name=order]").input_value() == "sure"


def test_probabilities_are_those_of_the_closed_set(page: Any, plain: Study) -> None:
    (row, _) = plain.pairs("why")[0]
    go(page, plain.file, f"texts?arm=why&text={row['id']}&of=1")
    scores = np.array(row["log_probabilities"])
    chances = np.exp(scores - np.logaddexp.reduce(scores))
    shown = page.locator(".bars .number").all_inner_texts()
    assert shown == [f"{100 * chance:.1f} %" for chance in chances]


def test_words_that_two_texts_share_are_marked(page: Any, plain: Study) -> None:
    go(page, plain.file, f"texts?arm=why&text={pages.FIRST_ID}&of=1")
    said, text = plain.answers("why", 1)[0]["reasoning"], plain.answers("why", 1)[0]["text"]
    assert said == text == STUDY.first[0]
    assert "quixotry" in page.locator(".detail > .text mark").all_inner_texts()
    for row in plain.answers("why", 1)[1:6]:
        go(page, plain.file, f"texts?arm=why&text={row['id']}&of=1")
        both = set(row["text"].split()) & set(row["reasoning"].split())
        assert set(page.locator(".answer mark").all_inner_texts()) <= both


def test_what_others_said_and_the_nearest_training_text(page: Any, plain: Study) -> None:
    go(page, plain.file, f"texts?arm=why&against=label&text={pages.FIRST_ID}&of=1")
    assert page.locator(".others a").count() == len(ARMS) * len(STUDY.seeds)
    near = page.locator(".detail section", has_text="The nearest training text")
    assert near.locator(".text").inner_text() == STUDY.first[0]
    assert "cosine 1.00" in near.inner_text()
    page.locator(".others a").nth(1).click()
    settle(page)
    assert page.locator(".answer h3").all_inner_texts() == ["label seed 2", "why seed 2"]


def test_reasonings_that_argue_otherwise_are_those_the_linear_model_reads_so(
    page: Any, plain: Study
) -> None:
    go(page, plain.file, "texts?arm=why&argues=1")
    assert 0 < count(page) < len(plain.pairs("why"))
    said = page.locator(".answer .verdict .chip").inner_text()
    assert page.locator(".heard .chip").inner_text() != said
    go(page, plain.file, "texts?arm=label")
    assert page.locator("select[name=argues]").count() == 0


def test_keys_go_through_the_answers(page: Any, plain: Study) -> None:
    go(page, plain.file, "texts?arm=why")
    position = page.locator(".steps .quiet")
    positions = [position.inner_text()]
    for key in ("j", "j", "ArrowRight", "k", "ArrowLeft"):
        page.keyboard.press(key)
        positions.append(position.inner_text())
    assert [line.split()[0] for line in positions] == list("123432")
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.get_by_role("searchbox").input_value() == "jk"
    assert page.evaluate("document.activeElement.name") == "q"


def test_all_of_it_can_be_reached_by_the_tabulator(page: Any, plain: Study) -> None:
    """From the top of the page to an answer, without a mouse."""
    go(page, plain.file, "texts?arm=why")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.lines') !== null"):
            break
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator(".steps .quiet").inner_text().startswith("2 of")


def test_an_address_is_a_place(page: Any, plain: Study) -> None:
    row = plain.answers("label", 2)[7]
    address = f"texts?against=why&arm=label&of=2&text={row['id']}"
    go(page, plain.file, address)
    assert page.locator(".detail > .text").inner_text() == row["text"]
    assert page.locator(".lines [aria-current]").count() == 1
    page.locator("header").get_by_role("link", name="About").click()
    settle(page)
    assert page.title() == "About \u00b7 made-up"
    page.go_back()
    settle(page)
    assert page.locator(".detail > .text").inner_text() == row["text"]
    for odd in ("nowhere", "texts?arm=none&text=1e9", "confusion?against=none", "reasonings?set=no",
                "texts?label=none&seed=x&of=x"):  # fmt: skip
        go(page, plain.file, odd)
        assert page.locator("h1").count() == 1


def test_reasonings_of_the_training_set(page: Any, plain: Study) -> None:
    kept = read_rows(plain.root / "set why/train.parquet", TEXT_REASONING_LABEL)
    go(page, plain.file, "reasonings")
    sources = page.get_by_label("Source").locator("option").all_inner_texts()
    assert sources == ["keywords (reasoner)", "reasonings (reasoner)"]
    page.get_by_label("Source").select_option(sources[1])
    assert count(page) == STUDY.train
    assert page.locator(".cards .reasoning").nth(1).inner_text() == kept[1]["reasoning"]
    page.get_by_label("Verdict").select_option("left out")
    assert count(page) == STUDY.train - len(kept) == 1
    page.get_by_label("Verdict").select_option("any")
    page.get_by_label("Label").select_option("joy")
    assert count(page) == sum(row["label"] == "joy" for row in kept)
    page.get_by_label("Label").select_option("any")
    page.get_by_label("It ends").select_option("cut at the limit")
    assert count(page) == sum(row["id"] % 9 == 0 for row in kept)
    page.get_by_role("searchbox").fill("quixotry")
    assert count(page) == 0
    page.get_by_label("It ends").select_option("any")
    assert count(page) == 1
    assert page.get_by_role("img", name=re.compile("Lengths")).count() == 1


def test_without_reasonings_the_page_says_so(page: Any, tmp_path: Path) -> None:
    study = pages.Study(arms={"label": pages.LABEL, "head": pages.PLAIN | {"target": "head"}})
    go(page, pages.page(tmp_path / "study", study), "reasonings")
    assert page.locator(".lead").inner_text() == "No arm learned from reasonings."
    go(page, tmp_path / "study/browse/browse.html", "texts")
    assert page.locator(".answer").count() == 1 and not page.locator(".reasoning").count()


def test_ratings(page: Any, plain: Study, rated: Study) -> None:
    go(page, plain.file, "ratings")
    assert page.locator("h1").inner_text() == "What each arm reaches"  # there are none
    go(page, rated.file, "ratings?arm=why")
    lines = page.get_by_role("region", name="Settings").locator("tbody tr")
    assert lines.count() == 1 + 2 + 4
    assert page.locator(".chart .point").count() == len(rated.pairs("why"))
    test = read_rows(rated.root / "task/test.parquet", RATED)
    inside = {row["id"] for row in test if (row["source"], row["dimension"]) == ("bank", "calm")}
    lines.get_by_role("link", name="bank \u00b7 calm").click()
    settle(page)
    assert count(page) == len(inside) * len(RATED_STUDY.seeds)
    assert "bank \u00b7 calm" in page.locator("p.truth").inner_text()


def test_texts_without_scores_and_a_model_that_was_not_trained(page: Any, tmp_path: Path) -> None:
    study = pages.Study(asked=True, too_long=3)
    file = pages.page(tmp_path / "study", study)
    go(page, file, "texts?arm=why&outcome=too_long")
    assert count(page) == 3 * len(study.seeds)
    assert page.locator(".answer").inner_text().count("too long") == 2  # one for screen readers
    assert "no probabilities are known" in page.locator(".answer").inner_text()
    go(page, file, "texts?arm=zero_shot&against=why&seed=2&argues=1")
    assert count(page) == study.test
    assert page.locator(".answer h3").all_inner_texts() == ["zero_shot", "why seed 2"]
    go(page, file, "confusion?arm=why&against=zero_shot")
    assert page.locator(".four").count() == 1
    go(page, file, "texts?arm=zero_shot&seed=2")
    assert count(page) == study.test


def test_a_file_that_was_cut_short_says_so(browser: Any, plain: Study, tmp_path: Path) -> None:
    file = tmp_path / "cut.html"
    whole = plain.file.read_text()
    start = whole.index('id="data">') + 2000
    file.write_text(whole[:start] + whole[whole.index("</script>", start) :])
    with looked_at(browser) as page:
        page.goto(file.as_uri())
        page.get_by_role("heading", name="This page can't be shown").wait_for()
    file.write_text(whole.replace("<script>", "<script>/* */"))
    page = browser.new_page()  # whose policy knows no such program
    page.goto(file.as_uri())
    assert page.locator("main").inner_text() == "Opening ..."
    page.close()


def test_it_says_what_made_it(page: Any, plain: Study) -> None:
    go(page, plain.file, "about")
    description = page.locator("dl").inner_text()
    for part in ("made-up", "0" * 12, "0" * 40, "torch", "2.13.0"):
        assert part in description
    assert page.get_by_role("region", name="Artifacts").locator("tbody tr").count() > 20


def test_a_hostile_text_does_nothing(page: Any, tmp_path: Path) -> None:
    """In texts, reasonings and labels; nor do names that objects have anyway confuse the page."""
    labels = ("joy", pages.SCRIPT, pages.IMAGE, "__proto__", "constructor")
    arms = {"toString": pages.LABEL, "constructor": pages.WHY}
    study = pages.Study(arms=arms, labels=labels, first=[pages.HOSTILE], test=20)
    file = pages.page(tmp_path / "study", study)
    for view in ("arms", "confusion", "confusion?arm=constructor", "reasonings", "about"):
        go(page, file, view)
    go(page, file, f"texts?arm=constructor&text={pages.FIRST_ID}&of=1&against=toString")
    assert page.locator(".detail > .text").inner_text() == pages.HOSTILE
    assert page.locator(".answer .reasoning").inner_text() == pages.HOSTILE
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1
    assert page.evaluate("window.hostile") is None
    page.locator("summary").click()
    page.get_by_label("True label").select_option(pages.SCRIPT)
    assert page.evaluate("window.hostile") is None
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_a_script_that_was_put_in_is_not_run(browser: Any, plain: Study, tmp_path: Path) -> None:
    file = tmp_path / "changed.html"
    file.write_text(plain.file.read_text().replace("<body>", f"<body>{pages.SCRIPT}{pages.IMAGE}"))
    page = browser.new_page()
    go(page, file)
    assert page.evaluate("window.hostile") is None
    page.close()


@pytest.mark.parametrize(
    "look", [{}, {"color_scheme": "dark"}, {"width": 390}], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_serious(browser: Any, rated: Study, look: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with looked_at(browser, **look) as page:
        for view in (*VIEWS, f"texts?arm=why&text={pages.FIRST_ID}&of=1"):
            go(page, rated.file, view)
            violations = axe.run(page).response["violations"]
            serious = [
                (violation["id"], [node["html"] for node in violation["nodes"]])
                for violation in violations
                if violation["impact"] in ("serious", "critical")
            ]
            assert serious == [], view
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_a_phone_shows_the_list_or_a_text(browser: Any, plain: Study) -> None:
    with looked_at(browser, width=390) as page:
        go(page, plain.file, "texts?arm=why")
        assert page.locator(".list").is_visible() and not page.locator(".detail").is_visible()
        page.locator(".lines a").first.click()
        settle(page)
        assert page.locator(".detail").is_visible() and not page.locator(".list").is_visible()
        page.get_by_role("link", name="Back to the list").click()
        settle(page)
        assert page.locator(".list").is_visible()


def test_78_000_answers(browser: Any, tmp_path: Path) -> None:
    """As many arms, seeds and sets as docs/findings.md has. Times are told, and fail nothing."""
    arms = {f"label_{place}": pages.LABEL for place in range(4)}
    arms |= {
        f"why_{place}": pages.WHY | ({"reasons": f"way_{place}"} if place > 3 else {})
        for place in range(9)
    }
    study = pages.Study(arms, (1, 2, 3), train=4000, test=2000, words=19, reasons=35)
    file = pages.page(tmp_path / "study", study)
    size = file.stat().st_size
    assert size < 15e6
    with looked_at(browser) as page:
        start = time.monotonic()
        go(page, file, "texts?arm=why_0")
        opened = time.monotonic() - start
        assert count(page) == 3 * 2000
        run = partial(page.evaluate, """where => {
          history.replaceState(null, "", where);
          const start = performance.now();
          dispatchEvent(new Event("hashchange"));
          document.body.offsetHeight;
          return performance.now() - start;
        }""")  # fmt: skip
        filters = ("label=joy", "against=label_0&cell=first", "outcome=error&order=sure", "q=ra",
                   "argues=1", "seed=2")  # fmt: skip
        times = {name: run(f"#texts?arm=why_0&{name}") for name in filters}
    timings = ", ".join(f"{name} {taken:.0f}" for name, taken in times.items())
    print(f"\n78,000 answers: {size / 1e6:.1f} MB, opens in {opened:.1f} s; filters, ms: {timings}")
