"""The page to type a text in, on loopback; and what is said without Gradio."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import try_it
from infuse.inference.new_texts import answers, opened
from patience import PATIENCE, wait_until
from trees import Tree, environment, nodes

TEXT = "so , my brother called and i was cheerful <b> , and so it goes"


@pytest.fixture
def served(built: Tree, tmp_path: Path) -> Iterator[str]:
    """The address of a page with two classifiers."""
    pytest.importorskip("gradio", reason="gradio is not installed: envs/try.txt")
    command = [sys.executable, "-u", "scripts/try_it.py"]
    for arm in ("reason_label", "label"):
        command += ["--model", str(nodes(built, "classifier")[f"{arm}-seed1"])]
    file = tmp_path / "said"
    with file.open("w") as said:
        process = subprocess.Popen(
            command, cwd=built.root, env=environment(), stdout=said, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: "http://" in file.read_text(), process)
        yield re.findall(r"http://\S+", file.read_text())[0]
    finally:
        process.terminate()
        process.wait()


def test_the_page_says_what_the_classifiers_say(served: str, built: Tree) -> None:
    from gradio_client import Client

    assert served.startswith("http://127.0.0.1:")
    client = Client(served, verbose=False, httpx_kwargs={"timeout": PATIENCE})
    shown = client.predict(TEXT, api_name="/classify")
    for place, arm in enumerate(("reason_label", "label")):
        reader = opened(nodes(built, "classifier")[f"{arm}-seed1"])
        [answer] = answers(reader, [TEXT], try_it.MOST_TOKENS)
        label, chances, reasoning = shown[3 * place : 3 * place + 3]
        assert label == (answer["label"] or try_it.OUTCOMES[answer["outcome"]])
        assert reasoning == answer["reasoning"]
        confidences = {entry["label"]: entry["confidence"] for entry in chances["confidences"]}
        assert confidences == pytest.approx(answer["probabilities"])


def test_without_gradio_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(sys, "argv", ["try_it.py", "--model", "nowhere"])
    with pytest.raises(SystemExit) as end:
        try_it.main()
    message = "error: gradio is not installed: pip install --no-deps -r envs/try.txt\n"
    assert end.value.code == 1 and capsys.readouterr().err == message
