"""Label new texts, and explain the labels, with a classifier that was trained here.

IN   a classifier's folder; texts as arguments, from a file, or as lines of standard input
OUT  JSON lines on standard output, one for each text in their order:
       text            as it was given
       label           what the classifier answered, or null
       probabilities   of each label, by closed-set scoring; null for no_text and too_long
       reasoning       what it wrote beside the label; "" if it was trained for labels alone
       outcome         answered; no_answer (no valid label in its place); truncated (it was still
                       writing at the limit); no_text; too_long (for the model's positions)

Run as:
    python scripts/classify.py --model results/artifacts/classifier/NAME-KEY "a text"
    python scripts/classify.py --model ... --file texts.csv --column text > answers.jsonl
    cat lines.txt | python scripts/classify.py --model ...
"""

import argparse
import io
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from infuse.core.errors import UserError, in_one_line
from infuse.data.sources import read_file
from infuse.data.texts import joined
from infuse.inference.form import Form

BATCH = 32  # texts that are answered together


def main() -> None:
    """Read the arguments, classify, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", help="texts; without any, a file or standard input")
    parser.add_argument("--model", type=Path, required=True, help="a classifier's folder")
    parser.add_argument("--file", help="a parquet, jsonl or csv file of texts")
    parser.add_argument(
        "--column", nargs="+", help="the file's column of texts, or all columns that one text has"
    )
    parser.add_argument(
        "--max-new-tokens", type=_positive, default=256, help="longest answer (default: 256)"
    )
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="default: cuda where there is one"
    )
    arguments = parser.parse_args()
    if arguments.texts and arguments.file:
        parser.error("expected texts or --file, found both")
    if not arguments.texts and not arguments.file:
        if sys.stdin is None or sys.stdin.isatty():
            parser.error("expected a text, --file, or lines on standard input")
        _as_utf_8(sys.stdin)
    _as_utf_8(sys.stdout)
    try:
        with in_one_line():
            for line in classify(arguments):
                print(json.dumps(line, ensure_ascii=False), flush=True)
    except BrokenPipeError:  # whoever read the lines has seen enough
        sys.stderr.close()
        sys.exit(1)


def classify(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One answer for each text, batch by batch.

    Raises:
        UserError: the model, the file or a text in it can't be used.
    """
    waiting = _texts(arguments)
    texts = list(itertools.islice(waiting, BATCH))  # before the libraries, which take seconds
    from infuse.inference.new_texts import answers, opened

    reader = opened(arguments.model, arguments.backend, arguments.device)
    first = 0
    while texts:
        yield from answers(reader, texts, arguments.max_new_tokens, first)
        first += len(texts)
        texts = list(itertools.islice(waiting, BATCH))


def _texts(arguments: argparse.Namespace) -> Iterator[str]:
    learned = Form.load(arguments.model).columns
    names = learned or ["text"]  # as they stand in a text
    columns = arguments.column or names
    if arguments.file and len(columns) != len(names):
        raise UserError(
            f"--column: expected {len(names)} for the columns of this classifier's texts"
            f" ({', '.join(names)}), in this order, found {', '.join(columns)}"
        )
    if learned and not (arguments.file or arguments.texts):
        raise UserError(
            f"a text of this classifier has the columns {', '.join(learned)}, and a line has one:"
            " give --file"
        )
    if arguments.texts:
        for text in arguments.texts:
            try:
                yield os.fsencode(text).decode("utf-8")  # whatever the locale made of it
            except UnicodeDecodeError as damage:
                raise UserError(f"{text!r}: not valid UTF-8 ({damage.reason})") from None
    elif arguments.file:
        for number, row in enumerate(read_file(arguments.file, columns), 1):
            text = joined(dict(zip(names, (row[name] for name in columns), strict=True)), names)
            if not isinstance(text, str):
                raise UserError(f"{arguments.file}, row {number}: expected a text, found {text!r}")
            yield text
    else:
        try:
            mark = "\ufeff"  # a byte order mark
            for number, line in enumerate(sys.stdin):
                yield (line if number else line.removeprefix(mark)).rstrip("\r\n")
        except UnicodeDecodeError as damage:
            raise UserError(f"standard input: not valid UTF-8 ({damage.reason})") from None


def _as_utf_8(stream: TextIO) -> None:
    """Whatever the locale says."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
