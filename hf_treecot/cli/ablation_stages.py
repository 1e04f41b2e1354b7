"""The rows of the ablation: what is trained from what, on what, with which options. It runs nothing."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """
    One row of the table.

    Args:
        label (`str`): What the table says.
        trainer (`str`): Recipe that trains it.
        rows (`str`): The right chain that is imitated or preferred, or a way to select pairs; `"trees"` are all
            chains.
        options (`dict`): What differs from the recipe's configuration for the starter model.
        after (`str`): The stage that it starts from.
    """

    label: str
    trainer: str = ""
    rows: str = ""
    options: dict = field(default_factory=dict)
    after: str = "sft"


PLAIN = {"epsilon": 0.0, "mask_shared_prefix": False}
CONSERVATIVE = {"epsilon": 0.1, "mask_shared_prefix": False}
MASKED = {"epsilon": 0.1, "mask_shared_prefix": True}
STAGES = {
    "base": Stage("before training"),
    "sft_best_of_n": Stage("SFT, best of N, equal tokens", "sft", "best_of_n", after="base"),
    "sft": Stage("SFT, trees", "sft", "longest", after="base"),
    "dpo": Stage("+ DPO", "cdpo", "random", PLAIN),
    "length_balance": Stage("+ length balance", "cdpo", "shortest", PLAIN),
    "cdpo": Stage("+ cDPO", "cdpo", "shortest", CONSERVATIVE),
    "joint": Stage("+ joint loss", "joint", "shortest", {**CONSERVATIVE, "alpha": 1.0}),
    "masking": Stage("+ masking", "joint", "shortest", {**MASKED, "alpha": 1.0}),
    "masking_sft": Stage(
        "+ masking, SFT term too", "joint", "shortest", {**MASKED, "alpha": 1.0, "mask_sft_prefix": True}
    ),
    **{
        f"alpha_{alpha}": Stage(f"joint, α = {alpha}", "joint", "shortest", {**CONSERVATIVE, "alpha": alpha})
        for alpha in (0.5, 1.5, 2.0)
    },
    **{f"dpo_{length}": Stage(f"DPO, chosen {length}", "cdpo", length, PLAIN) for length in ("medium", "longest")},
    **{
        f"sft_{choice}": Stage(f"SFT, {choice.replace('_', ' ')}", "sft", choice, after="base")
        for choice in ("medium", "shortest", "pruned", "by_difficulty")
    },
    "sft_masked": Stage("SFT, masked thoughts", "sft", "longest", {"mask_thoughts": 0.2}, after="base"),
    "redi": Stage("+ REDI", "redi", "shortest"),
    # A tree has about four such pairs: half an epoch sees as many as the two epochs of + masking.
    "branchings": Stage(
        "+ masking, pairs at branchings",
        "joint",
        "one_per_branching",
        {**MASKED, "alpha": 1.0, "num_train_epochs": 0.5},
    ),
    # Two fifths of an epoch: about as many unique tokens as SFT sees.
    "advantage": Stage("advantages", "advantage", "trees", {"num_train_epochs": 0.4}, after="base"),
    "advantage_epoch": Stage("advantages, an epoch", "advantage", "trees", {"num_train_epochs": 1.0}, after="base"),
    "sft_advantage": Stage("+ advantages", "advantage", "trees", {"num_train_epochs": 0.4}),
}
TABLES = {
    "Ladder": [
        "base", "sft_best_of_n", "sft", "dpo", "length_balance", "cdpo", "joint", "masking", "masking_sft"
    ],
    "Weight of the SFT term (α = 0 is + cDPO, α = 1 is + joint loss)": [
        "cdpo", "alpha_0.5", "joint", "alpha_1.5", "alpha_2.0"
    ],
    "Length of the chosen chain, DPO (+ length balance is the shortest)": [
        "length_balance", "dpo_medium", "dpo_longest"
    ],
    "Length of the chain, SFT (SFT, trees is the longest)": ["sft_shortest", "sft_medium", "sft"],
    "Other selections and objectives (+ …: after SFT, trees)": [
        "sft", "sft_pruned", "sft_by_difficulty", "sft_masked", "masking", "branchings", "redi",
        "advantage", "advantage_epoch", "sft_advantage",
    ],
}  # fmt: skip
PICTURED = ("base", "sft_best_of_n", "sft", "dpo", "joint", "dpo_longest", "sft_medium", "advantage", "redi")
