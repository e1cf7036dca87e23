"""A page to type a text in: label, probabilities and reasoning of one classifier, or of several.

Run as:
    python scripts/try_it.py --model results/artifacts/classifier/NAME-KEY
    python scripts/try_it.py --model FOLDER --model FOLDER

It needs Gradio, of envs/try.txt; docs/browse.md tells how to install it. The page is for this
machine alone, and sends nothing anywhere.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from infuse.core.errors import UserError, in_one_line
from infuse.data.targets import EXPLAINED

MOST_TOKENS = 256  # of an answer
OUTCOMES = {
    "no_answer": "It wrote no valid label.",
    "truncated": "It was still writing at the limit.",
    "no_text": "Type a text first.",
    "too_long": "The text is too long for the model.",
}


def main() -> None:
    """Load the classifiers and open the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, action="append", required=True, help="a classifier's folder"
    )
    arguments = parser.parse_args()
    with in_one_line():
        _page(arguments.model).launch(share=False, footer_links=[])


def _page(folders: list[Path]) -> Any:
    """A text box, and a column for each classifier."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
    except ModuleNotFoundError:
        words = "gradio is not installed: pip install --no-deps -r envs/try.txt"
        raise UserError(words) from None
    from infuse.inference.new_texts import answers, opened

    readers = [opened(folder) for folder in folders]

    def ask(text: str) -> list[Any]:
        shown: list[Any] = []
        for reader in readers:
            [answer] = answers(reader, [text], MOST_TOKENS)
            words = answer["label"] or OUTCOMES[answer["outcome"]]
            shown += [words, answer["probabilities"], answer["reasoning"]]
        return shown

    with gr.Blocks(title="Try it", analytics_enabled=False) as page:
        text = gr.Textbox(label="Text", lines=3, autofocus=True)
        button = gr.Button("Classify", variant="primary")
        parts: list[Any] = []
        with gr.Row():
            for folder, reader in zip(folders, readers, strict=True):
                with gr.Column():
                    reasons = reader.form.target in EXPLAINED
                    parts.append(gr.Textbox(label=f"Label, by {folder.name}"))
                    parts.append(gr.Label(label="Probabilities", show_heading=False))
                    parts.append(gr.Textbox(label="Reasoning", lines=3, visible=reasons))
        gr.on([button.click, text.submit], ask, text, parts, api_name="classify")
    return page


if __name__ == "__main__":
    main()
