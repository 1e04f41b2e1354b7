"""What a model card says beyond TRL's: the loss with its settings, the data, the figures at the end of training."""

import textwrap
from pathlib import Path

from huggingface_hub import ModelCard


BOTTLENECK_PAPER = {
    "title": "Towards Widening the Distillation Bottleneck for Reasoning Models",
    "id": "2503.01461",
    "citation": textwrap.dedent("""\
        @inproceedings{yin2025widening,
            title     = {{Towards Widening the Distillation Bottleneck for Reasoning Models}},
            author    = {Yin and Zhao and Wu and Ni and Zeng and Wang and Shi and Shao and Lyu and Wang and Luo
                         and Zhang},
            year      = 2025,
            booktitle = {ACL},
        }"""),
}
REDI_PAPER = {
    "title": "Harnessing Negative Signals: Reinforcement Distillation from Teacher Data for LLM Reasoning",
    "id": "2505.24850",
    "citation": textwrap.dedent("""\
        @article{xu2025harnessing,
            title   = {{Harnessing Negative Signals: Reinforcement Distillation from Teacher Data for LLM Reasoning}},
            author  = {Shuyao Xu and Cheng Peng and Jiangxuan Long and Weidi Xu and Wei Chu and Yuan Qi},
            year    = 2025,
            journal = {arXiv preprint arXiv:2505.24850},
        }"""),
}
TREE_RL_PAPER = {
    "title": "TreeRL: LLM Reinforcement Learning with On-Policy Tree Search",
    "id": "2506.11902",
    "citation": """@misc{hou2025treerl,
  title={TreeRL: LLM Reinforcement Learning with On-Policy Tree Search},
  author={Zhenyu Hou and Ziniu Hu and Yujiang Li and Rui Lu and Jie Tang and Yuxiao Dong},
  year={2025},
  eprint={2506.11902},
  archivePrefix={arXiv}
}""",
}
MATH_SHEPHERD_PAPER = {
    "title": "Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations",
    "id": "2312.08935",
    "citation": textwrap.dedent("""\
        @inproceedings{wang2024mathshepherd,
            title     = {{Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations}},
            author    = {Peiyi Wang and Lei Li and Zhihong Shao and Runxin Xu and Damai Dai and Yifei Li and Deli Chen
                         and Yu Wu and Zhifang Sui},
            year      = 2024,
            booktitle = {ACL},
        }"""),
}
MASKED_THOUGHT_PAPER = {
    "title": (
        "Masked Thought: Simply Masking Partial Reasoning Steps Can Improve Mathematical Reasoning Learning of "
        "Language Models"
    ),
    "id": "2403.02178",
    "citation": textwrap.dedent("""\
        @inproceedings{chen2024masked,
            title     = {{Masked Thought: Simply Masking Partial Reasoning Steps Can Improve Mathematical Reasoning
                         Learning of Language Models}},
            author    = {Changyu Chen and Xiting Wang and Ting-En Lin and Ang Lv and Yuchuan Wu and Xin Gao and
                         Ji-Rong Wen and Rui Yan and Yongbin Li},
            year      = 2024,
            booktitle = {ACL},
        }"""),
}
FIGURES = (
    "loss", "rewards/accuracies", "rewards/margins", "redi/chosen", "redi/rejected", "logps/chosen", "logps/rejected",
    "sft_loss",
)  # fmt: skip
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


def add_value_sections(path: Path, report: str) -> None:
    """
    Make the card that TRL has written that of a value model: it generates nothing.

    Args:
        path (`Path`): The card.
        report (`str`): How it was judged, in Markdown; empty if it was not.
    """
    card = ModelCard.load(path)
    before, _, after = card.text.partition("## Quick start")
    use = (
        "## Quick start\n\n```python\nfrom hf_treecot import ValueModel\n\n"
        f'model = ValueModel.from_pretrained("{path.parent.name}")\n'
        'model.score([("How much is 2 + 2?", "<thinking>2 + 2 = 4</thinking>\\n<answer>4</answer>")])\n```\n'
    )
    loss = (
        "\n## Loss\n\n$-v \\log\\sigma(z) - (1-v) \\log\\sigma(-z)$, with v = v/N, the share of a search's "
        "simulations through a thought that ended in a right answer, and z the head's logit at its last token.\n"
    )
    judged = f"\n## Held-out trees\n\n{report}\n" if report else ""
    rest = after[after.index("\n## ") :] if "\n## " in after else ""
    card.text = f"{before}{use}{loss}{judged}{rest}"
    card.save(path)
