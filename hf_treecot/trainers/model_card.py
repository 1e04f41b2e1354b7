"""What a model card says beyond TRL's: the loss with its settings, the data, the figures at the end of training."""

from pathlib import Path

from huggingface_hub import ModelCard


FIGURES = ("loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected", "sft_loss")
ANSWERS = ("answers/accuracy", "answers/no_answer_rate", "answers/repetition", "answers/length")


def add_training_sections(path: Path, trainer, loss: str) -> None:
    """
    Append sections to a card that TRL has written.

    Args:
        path (`Path`): The card.
        trainer (`~transformers.Trainer`): What trained the model.
        loss (`str`): The loss, in words and TeX.
    """
    card = ModelCard.load(path)
    rows = len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else None
    history = trainer.state.log_history
    lines = [
        "\n## Loss\n",
        loss,
        "\n## Data\n",
        f"{rows} preference pairs of trees of thoughts." if rows is not None else "A stream of preference pairs.",
        "\n## Figures\n",
        "| | first | last |",
        "| --- | --- | --- |",
    ]
    for name in (*FIGURES, *ANSWERS):
        values = [log[name] for log in history if name in log]
        if values:
            lines.append(f"| {name} | {values[0]:.4g} | {values[-1]:.4g} |")
    card.text = card.text.rstrip() + "\n" + "\n".join(lines) + "\n"
    card.save(path)
