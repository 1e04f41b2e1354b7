"""What the app is started with; imports nothing heavy, so that `--help` is quick."""

import os
from dataclasses import dataclass, field
from pathlib import Path


DEMO = "runs/demo"


def _models() -> list[str]:
    if named := os.environ.get("TREECOT_MODELS"):
        return [name.strip() for name in named.split(",") if name.strip()]
    return ["hasty", "starter", *(name for name in (f"{DEMO}/sft", f"{DEMO}/joint_sft_dpo") if Path(name).is_dir())]


@dataclass
class SpaceArguments:
    """What is shown, and to whom."""

    source: str = field(
        default_factory=lambda: os.environ.get("TREECOT_SOURCE", DEMO if Path(DEMO).is_dir() else "examples"),
        metadata={"help": "Trees to open: a run's directory, a dataset on the Hub, or examples."},
    )
    models: list[str] = field(
        default_factory=_models,
        metadata={"help": "hasty, starter, directories, Hub names, or servers as tgi+http://… or openai+http://…."},
    )
    judgements: str = field(default="runs/judgements", metadata={"help": "Directory of the judgements."})
    judgements_repo: str | None = field(
        default_factory=lambda: os.environ.get("TREECOT_JUDGEMENTS_REPO"),
        metadata={"help": "Dataset on the Hub that judgements go to as well."},
    )
    results: str | None = field(default=None, metadata={"help": "Directory of evaluations. Default: the source."})
    public: bool = field(
        default_factory=lambda: bool(os.environ.get("SPACE_ID")),
        metadata={"help": "Visitors are strangers: no directories, only these models, tighter limits."},
    )
    host: str = field(default="127.0.0.1", metadata={"help": "Address to serve at. On a Space: all."})
    port: int = field(
        default_factory=lambda: int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        metadata={"help": "Port to serve at."},
    )
