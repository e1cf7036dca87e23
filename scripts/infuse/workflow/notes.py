"""What a config allows but hardly means, for the user to read before the start."""

from __future__ import annotations

from infuse.config.base import Scratch
from infuse.config.experiment import Experiment
from infuse.config.reasonings import Written
from infuse.config.task import GeneratedTask, TwoHop
from infuse.config.triples import GeneratedTriples
from infuse.workflow.compared_arms import sources_of_true_labels
from infuse.workflow.local_files import reasoning_sources


def notes(config: Experiment) -> list[str]:
    """One sentence each."""
    notes = []
    reasoner = any(
        isinstance(config.reasons(source), Written) for source in reasoning_sources(config.arms)
    )
    base = isinstance(config.base, Scratch) and "triples" in config.base.corpus
    learners = ["the base model"] * base + ["the reasoner"] * reasoner
    own = not isinstance(config.task.source, GeneratedTask | TwoHop)
    generated = config.triples and isinstance(config.triples.source, GeneratedTriples)
    if own and generated and learners:
        notes.append(
            f"{' and '.join(learners)} will learn from the default's generated triples, which say"
            " nothing about your texts: set triples (docs/own-data.md)"
        )
    kept = reasoning_sources({name: arm for name, arm in config.arms.items() if arm.keep})
    for source in reasoning_sources(config.arms):
        if source not in kept and getattr(config.reasons(source), "candidates", 1) > 1:
            notes.append(f"{source}: of its candidates the first is taken, since no arm has `keep`")
    given = sources_of_true_labels(config) if config.regimes and config.regimes.label_noise else []
    if given:
        notes.append(
            f"no regime has wrong labels: {' and '.join(given)} would still argue for the true ones"
        )
    return notes
