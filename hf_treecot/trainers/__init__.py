"""Trainers on TRL: conservative DPO, its sum with SFT, and REDI at the cost of a tree's unique tokens; masked SFT."""

import importlib


_NAMES = {
    "AnswerRateCallback": "callbacks",
    "CDPOConfig": "cdpo_config",
    "CDPOTrainer": "cdpo_trainer",
    "JointSFTDPOConfig": "joint_sft_dpo_config",
    "JointSFTDPOTrainer": "joint_sft_dpo_trainer",
    "LogProbabilityAlarm": "callbacks",
    "MaskedThoughtConfig": "masked_thought",
    "MaskedThoughtTrainer": "masked_thought",
    "PairConfig": "pair_config",
    "PairTrainer": "pair_trainer",
    "REDIConfig": "redi",
    "REDITrainer": "redi",
    "TreeAdvantageConfig": "tree_advantage",
    "TreeAdvantageTrainer": "tree_advantage",
    "TreeSFTConfig": "tree_sft",
    "TreeSFTTrainer": "tree_sft",
    "ValueConfig": "value",
    "ValueTrainer": "value",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
