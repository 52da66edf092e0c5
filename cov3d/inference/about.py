"""What a user must know of checkpoints before trusting them: training scans, score, task."""

from collections.abc import Sequence
from math import isnan

from cov3d.inference.evidence import map_source
from cov3d.inference.task import Task
from cov3d.training.checkpoint import CheckpointInfo


def about(infos: Sequence[CheckpointInfo]) -> list[str]:
    """A sentence for each network; a sentence with the number for networks that differ in nothing that is shown."""
    sentences = [_of_one(info) for info in infos]
    counts = {sentence: sentences.count(sentence) for sentence in dict.fromkeys(sentences)}
    return [sentence if count == 1 else f"{count} networks, each: {sentence}" for sentence, count in counts.items()]


def task_note(infos: Sequence[CheckpointInfo], task: Task) -> str:
    """Which predictions come from networks that were chosen for the other task; empty if none do."""
    chosen = {info.task for info in infos}
    wanted = {"presence", "severity"} if task == Task.BOTH else {task.value}
    missing = sorted(wanted - chosen)
    if not missing or len(chosen) > 1:
        return ""
    (other,) = chosen
    (lacking,) = missing
    which = "network whose epoch was" if len(infos) == 1 else "networks whose epochs were"
    return (
        f"the {lacking} predictions come from the {which} chosen for {other}: for {lacking}, predict with the "
        f"{lacking}.safetensors of the same run"
    )


def map_note(infos: Sequence[CheckpointInfo]) -> str:
    """Which networks have no class map, so that only the lung zones explain their predictions; empty if all have."""
    without = sorted({info.architecture.value for info in infos if map_source(info.architecture) is None})
    return f"{', '.join(without)}: no class map, so only the effect of the lung zones is written" if without else ""


def _of_one(info: CheckpointInfo) -> str:
    kind = {True: " synthetic", False: "", None: ""}[info.is_synthetic]
    count = len(info.trained_on)
    trained = (
        f"trained on {count}{kind} {'scan' if count == 1 else 'scans'}" if info.trained_on else "training scans unknown"
    )
    parts = [f"{info.architecture}, size {info.size}, {trained} (all folds but {info.fold})"]
    if isnan(info.score):
        parts.append(f"{info.task} could not be scored on fold {info.fold}")
    else:
        interval = ""
        if info.score_interval is not None:
            low, high = info.score_interval
            interval = f", 95 % interval {low:.2f} to {high:.2f}"
        scans = "" if info.scored_scans is None else f" over {info.scored_scans} scans"
        parts.append(f"{info.task} macro F1 {info.score:.2f} on fold {info.fold}{scans}{interval}")
        parts.append("the epoch was chosen by this score")
    if info.is_synthetic:
        parts.append("its predictions mean nothing for patients")
    return "; ".join(parts)
