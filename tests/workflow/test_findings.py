"""Tables of the docs are those of the committed result files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pyarrow.parquet as pq

from trees import ROOT, committed

PAGE = (ROOT / "docs/findings.md").read_text(encoding="utf-8")


def rendered(columns: list[str], rows: Iterator[list[str]]) -> str:
    """A table as the page has it."""
    body = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in body).replace(" --- ", "---")


def between(low: str, high: str) -> str:
    return f"{low} to {high}" if low else ""


def arms(file: str, *shown: str) -> Iterator[list[str]]:
    for line in committed(f"answer/{file}.csv"):
        yield [line["arm"], *(line[name] for name in shown)]


def answer() -> Iterator[list[str]]:
    for line in committed("answer/arms.csv"):
        if line["by seed"]:
            shown = ("by seed", "closed set %", "label share of loss")
            yield [line["arm"], *(line[name] for name in shown)]


def compared(file: str) -> Iterator[list[str]]:
    for line in committed(f"answer/{file}.csv"):
        if line["measure"] == "accuracy":
            more = f"{line['difference']} ({between(line['low'], line['high'])})"
            yield [line["arm"], line["against"], more, line["Holm p"]]


def afterwards() -> Iterator[list[str]]:
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for line in committed("answer/afterwards.csv"):
        what = line["arm"], line["against"], line["texts"]
        more = f"{line['difference']} ({between(line['low'], line['high'])})"
        found.setdefault(what, {})[line["measure"]] = more
    for what, more in found.items():
        yield [*what, more["accuracy"], more.get("macro F1", "")]


def sources() -> Iterator[list[str]]:
    for line in committed("answer/sources.csv"):
        yield [line[name] for name in SOURCES]


def emotion() -> Iterator[list[str]]:
    for line in committed("findings/emotion-arms.csv"):
        if line["budget"] == "adequate":
            shown = ("accuracy %", "by seed", "closed set %", "steps", "label share of loss")
            yield [line["arm"], *(line[name] for name in shown)]


def grade() -> Iterator[list[str]]:
    for line in committed("findings/ratings.csv"):
        if line["set"] == "GRADE":
            more = line["difference"]
            if more:
                more += f" ({between(line['difference low'], line['difference high'])})"
            yield [line["arm"], *(line[name] for name in ("accuracy %", "mae", "kappa")), more]


def inside() -> Iterator[list[str]]:
    """What the middle third of the layers says, and the output, of all texts together."""
    for name, file in LENSES.items():
        lines = [line for line in committed(f"{file}layers.csv") if line["group"] == "all texts"]
        last = max(int(line["layer"]) for line in lines)
        middle = [line for line in lines if last / 3 < int(line["layer"]) <= 2 * last / 3]
        for output in committed(f"{file}confidence.csv"):
            if output["group"] != "all texts" or not output["against"]:
                continue
            own = [line for line in middle if line["arm"] == output["arm"]]
            counts = []
            for measure in ("difference", "activation difference"):
                above = sum(float(line[f"{measure} low"]) > 0 for line in own)
                below = sum(float(line[f"{measure} high"]) < 0 for line in own)
                counts.append(f"{above} more, {below} less")
            ends = between(output["difference low"], output["difference high"])
            yield [name, output["arm"], *counts, f"{output['difference']} ({ends})"]


LENSES = {"ratings": "answer/grade-", "tweets": "answer/"}
COMPARED = ["arm", "against", "difference, points (95 %)", "Holm p"]
SHARE = "label share of loss"
SOURCES = (
    "source", "tokens", "ended %", "nearest to own text %", "names its label %", "names another %",
    "label read from it %",
)  # fmt: skip


def graded() -> Iterator[list[str]]:
    for line in committed("answer/grade.csv"):
        if line["source"] == "all" and line["dimension"] == "all":
            shown = ("accuracy %", "macro F1", "MAE", "quadratic kappa")
            more = line["accuracy, points more"]
            if more:
                more += f" ({line['accuracy, points more, 95 %']})"
            yield [line["arm"], *(line[name] for name in shown), more]


TABLES = {
    "primary": (
        ["arm", "accuracy %", "by seed", "closed set %", "label's share of the loss, %"],
        partial(arms, "primary-arms", "accuracy %", "by seed", "closed set %", SHARE),
    ),
    "answer": (
        ["arm", "accuracy %", "closed set %", "label's share of the loss, %"],
        answer,
    ),
    "compared": (COMPARED, partial(compared, "comparisons")),
    "ten_steps_compared": (COMPARED, partial(compared, "ten-steps-comparisons")),
    "graded_compared": (COMPARED, partial(compared, "grade-comparisons")),
    "ten_steps": (
        ["arm", "accuracy %", "macro F1", "closed set %", "steps", "label's share of the loss, %"],
        partial(arms, "ten-steps-arms", "accuracy %", "macro f1", "closed set %", "steps", SHARE),
    ),
    "sources": (list(SOURCES), sources),
    "afterwards": (
        ["arm", "against", "texts", "accuracy, points (95 %)", "macro F1, points (95 %)"],
        afterwards,
    ),
    "graded": (
        [
            "arm",
            "accuracy %",
            "macro F1",
            "MAE",
            "kappa",
            "more than the label alone, points (95 %)",
        ],
        graded,
    ),
    "inside": (
        [
            "texts",
            "arm",
            "entropy of the token, in layers 11 to 20",
            "of the activations",
            "confidence, points (95 %)",
        ],
        inside,
    ),
    "emotion": (
        ["arm", "accuracy %", "by seed", "closed set %", "steps", "label's share of the loss, %"],
        emotion,
    ),
    "grade": (
        ["arm", "accuracy %", "MAE", "kappa", "difference to the label alone, points (95 %)"],
        grade,
    ),
}


def test_tables_are_those_of_the_result_files() -> None:
    for columns, rows in TABLES.values():
        table = rendered(columns, rows())
        assert table in PAGE, table


def intervals() -> Iterator[tuple[str, str, str]]:
    """Each difference of the result files, with the ends of its interval."""
    for folder in ("answer", "findings"):
        for file in sorted((ROOT / "docs" / folder).glob("*.csv")):
            for line in committed(f"{folder}/{file.name}"):
                after = "difference " if "difference low" in line else ""
                if line.get("difference") and line[f"{after}low"]:
                    yield line["difference"], line[f"{after}low"], line[f"{after}high"]
                if line.get("accuracy, points more"):
                    low, high = line["accuracy, points more, 95 %"].split(" to ")
                    yield line["accuracy, points more"], low, high
    for file in (ROOT / "docs/verdict").glob("*.md"):
        page = file.read_text(encoding="utf-8").replace("\u2212", "-")
        (found,) = re.findall(
            r"difference is (\S+) points.* between (\S+) points and (\S+) points", page
        )
        yield found


def test_each_interval_stands_in_a_result_file() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = " ".join([*PAGE.split(), *readme.split("\n## What we found")[1].split()])
    held = set(intervals())
    around = {tuple(f"{-float(end):+.2f}" for end in (more, high, low)) for more, low, high in held}
    unit = "(?: points| points of macro F1| by closed set)?"
    stated = re.findall(rf"(\S+){unit} \(([+-]\S+) to ([+-][\d.]+)", said)
    assert len(stated) > 50
    assert set(stated) <= held | around


def test_what_answers_the_papers_claims_is_as_measured() -> None:
    section = PAGE.split("\n## What the papers claim")[1].split("\n## ")[0]
    for line in committed("findings/emotion-comparisons.csv"):
        against = ("label", "label_same_steps", "label_prompt_loss")
        if (line["budget"], line["arm"]) == ("adequate", "reason_label"):
            more = f"{line['difference']} ({between(line['low'], line['high'])})"
            assert (more in section) == (line["against"] in against)
    (pair,) = (
        line
        for line in committed("answer/primary-comparisons.csv")
        if line["measure"] == "accuracy"
    )
    assert f"{pair['difference']} ({between(pair['low'], pair['high'])})" in section
    arms = {line["arm"]: line for line in committed("answer/primary-arms.csv")}
    for measure in ("macro f1", "closed set ece"):
        label, reason = (float(arms[arm][measure]) for arm in ("label", "reason_label"))
        ends = {"macro f1": " |", "closed set ece": "; with random words, one seed, from "}
        assert f"| from {label:.3f} to {reason:.3f}{ends[measure]}" in section
    few = {line["arm"]: float(line["macro f1"]) for line in committed("answer/ten-steps-arms.csv")}
    rise = f"from {few['label_same_steps']:.3f} to {few['reason_label']:.3f}; at 10 steps"
    assert f"| {rise}, the label alone has {few['label']:.3f} |" in section
    once = {line["arm"]: line for line in committed("answer/arms.csv")}
    label, bag = (float(once[arm]["closed set ece"]) for arm in ("label", "bag_label"))
    assert f"with random words, one seed, from {label:.3f} to {bag:.3f}" in section
    looked = committed("answer/afterwards.csv")
    falls = {
        line["texts"]: float(line["difference"])
        for line in looked
        if (line["arm"], line["against"], line["measure"]) == ("reason_label", "label", "accuracy")
    }
    least, most = max(falls, key=falls.__getitem__), min(falls, key=falls.__getitem__)
    assert len(falls) == 6
    assert f"each falls, by {-falls[least]} ({least}) to {-falls[most]} points ({most})" in section
    (line,) = (
        line
        for line in looked
        if (line["against"], line["texts"], line["measure"]) == ("bag_label", "all", "macro F1")
    )
    ends = between(line["low"], line["high"])
    assert f"; macro F1 {line['difference']} ({ends}), looked at afterwards |" in section
    cut = float(once["shuffled_label"]["truncated"]) / float(once["shuffled_label"]["n"])
    assert f"where {cut:.0%}".replace("%", " %") + " of the shuffled answers are cut" in section
    rated = {line["arm"]: line["accuracy %"] for line in committed("findings/ratings.csv")[:9]}
    alike = {rated[f"label_{tokens}"] for tokens in ("explanation", "shuffled", "bag")}
    assert [f"all three reach {accuracy} %" in section for accuracy in alike] == [True]
    assert f"{rated['bare_label']} % without, {rated['label']} % with" in section


def test_what_is_said_of_the_pretrained_model_is_as_measured() -> None:
    said = " ".join(PAGE.split())
    prose = " ".join(line for line in PAGE.splitlines() if not line.startswith("|"))
    arms = {line["arm"]: line for line in committed("answer/arms.csv")}
    planned = committed("answer/comparisons.csv")
    found = {(line["arm"], line["against"]): line for line in reversed(planned)}  # the first counts
    shown = [
        committed("answer/primary-comparisons.csv")[0],
        found["reason_label_weighted", "label"],
    ]
    for line in shown:
        assert f"{line['difference']} points ({between(line['low'], line['high'])})" in said
    written = {row["source"]: row for row in committed("answer/sources.csv")}
    asked = written["reasonings"]
    named, other, own = (
        f"{round(float(asked[name]))} %"
        for name in ("names its label %", "names another %", "nearest to own text %")
    )
    assert f"{named} of the 600 reasonings name the label all the same, and {other} name" in said
    assert f"For {own}, the nearest text is the one that it was written for." in said
    assert f"Out of the text alone, it reads {float(asked['label read from text %']):.0f} %" in said
    cut = 100 - float(written["argued"]["ended %"])
    assert f"{cut:.0f} % of the argued reasonings were cut at the limit" in said
    assert f"reaches {arms['head']['by seed']} %" in said
    looked = committed("answer/afterwards.csv")
    parts = ("arm", "against", "texts", "measure")
    told = {tuple(line[part] for part in parts): line for line in looked}
    for which in (
        ("bag_label", "label", "all", "accuracy"),
        ("reason_label", "bag_label", "three rarest labels", "accuracy"),
        ("reason_label", "bag_label", "three most frequent labels", "accuracy"),
        ("reason_label", "shuffled_label", "the other arm's answer ended", "accuracy"),
        ("reason_label_weighted", "reason_label", "all", "accuracy"),
        ("reason_label", "label_prompt_loss", "all", "accuracy"),
    ):
        line = told[which]
        assert line["difference"] in prose
        assert f"{between(line['low'], line['high'])})" in prose
    line = found["multi_task", "label"]
    ends = between(line["low"], line["high"])
    assert f"| {line['difference']} ({ends}), where all tokens weigh alike" in PAGE
    behind = found["label_prompt_loss", "label"]["difference"].lstrip("-")
    assert f"The arm is {behind} points behind `label`" in said
    share = float(arms["multi_task"]["label share of loss"])
    assert f"so the label has {share:.1f} % of the loss" in said
    line = next(line for line in reversed(planned) if line["against"] == "other_label")
    assert line["measure"] == "closed set accuracy"
    ends = f"{between(line['low'], line['high'])}; Holm p {line['Holm p']}"
    assert f"a text's own reasonings are {line['difference']} points ({ends})" in said
    texts = float(arms["other_label"]["n"])
    cut = float(arms["other_label"]["truncated"]) / texts
    rows = pq.read_table(ROOT / "docs/answer/readings.parquet").to_pylist()
    mostly = sum(
        row["arm"] == "other_label" and row["closed_set"] in ("sadness", "joy") for row in rows
    )
    assert f"answers sadness or joy to {100 * mostly / texts:.0f} % of the texts" in said
    assert f"{100 * cut:.0f} % of its answers are cut, and count as wrong. By closed set" in said
    for line in planned:
        stated = line["against"] in ("shuffled_label", "bag_label", "label_smoothed")
        if stated and line["measure"] == "accuracy":
            ends = between(line["low"], line["high"])
            assert f"{line['difference']} ({ends})" in said  # among the claims
            assert f"{line['difference']} points ({ends}" in prose


def test_what_is_said_of_the_layers_is_as_measured() -> None:
    rows = {(texts, arm): rest for texts, arm, *rest in inside()}
    said = " ".join(PAGE.split())
    words = ("explanation", "shuffled", "bag")
    own, shuffled, bag = (rows["ratings", f"label_{kind}"] for kind in words)
    token, activations = (
        [kind[measure].split(" more")[0] for kind in (own, shuffled, bag)] for measure in (0, 1)
    )
    claims = "in {} of 10 layers; with shuffled words in {}, with random words in {} |"
    assert f"| of the activations: {claims}".format(*activations) in PAGE
    assert f"| of the likeliest next token: {claims}".format(*token) in PAGE
    assert f"| the output is sharper | the same | {own[2]} points of confidence |" in PAGE
    assert f"explanations have more entropy of the activations in {activations[0]} of" in said
    assert (
        f"their own words shuffled in {activations[1]}, and random words in {activations[2]}."
        in said
    )
    ends = re.compile(r"\((\S+) to (\S+)\)")
    assert all(float(ends.findall(rest[2])[0][0]) < 0 for rest in rows.values())
    for line in committed("answer/grade-confidence.csv"):
        if line["against"] and line["group"] != "all texts":
            low, high = (float(line[f"difference {end}"]) for end in ("low", "high"))
            assert low > 0 if line["group"] == "convai2" else high < 0


def test_the_run_of_a_real_model_is_that_of_its_files() -> None:
    page = (ROOT / "docs/real-model.md").read_text(encoding="utf-8")
    for line in committed("smollm2/table3.csv"):
        if line["steps"]:
            assert f"| {line['model']} | {line['accuracy %']} | {line['steps']} |\n" in page
        elif line["model"].endswith("equal steps"):
            low, high = (f"{float(line[end]):+.1f}" for end in ("low", "high"))
            assert f"{abs(float(line['accuracy %'])):.1f} points behind ({low} to {high})" in page
    costs = committed("smollm2/costs.csv")
    assert f"{sum(float(line['seconds']) for line in costs) / 60:.0f} minutes together" in page
    most = max(float(line["peak_memory_mb"]) for line in costs)
    assert f"more than {most / 1000:.1f} GB" in page


def test_the_verdict_of_strategyqa_is_that_of_its_page() -> None:
    page = (ROOT / "docs/verdict/strategy.md").read_text(encoding="utf-8").replace("\u2212", "-")
    assert (
        "The difference is +0.2 points." in page and "between -5.7 points and +6.2 points" in page
    )
    assert "the difference is +0.2 points (-5.7 to +6.2;" in " ".join(PAGE.split())
