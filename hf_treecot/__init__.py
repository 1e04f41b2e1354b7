"""Reasoning data that small models can learn from: Monte Carlo Tree Search over typed thoughts.

Public names are loaded when they are first used, so that `import hf_treecot` is quick and needs no torch.
"""

import importlib
from importlib.metadata import version


_NAMES = {
    "Problem": "base",
    "Verdict": "base",
    "build_trees": "building.builder",
    "BuildConfig": "building.builder",
    "BuildReport": "building.builder",
    "select_again": "building.builder",
    "Completion": "engines.engine",
    "Engine": "engines.engine",
    "EngineIdentity": "engines.engine",
    "Request": "engines.engine",
    "LocalEngine": "engines.local",
    "OpenAIEngine": "engines.openai",
    "EnginePool": "engines.pool",
    "PoolConfig": "engines.pool",
    "ServerOptions": "engines.server",
    "TGIEngine": "engines.tgi",
    "ValueModel": "engines.value_model",
    "EngineError": "errors",
    "HubError": "errors",
    "InvalidInputError": "errors",
    "UnverifiableError": "errors",
    "VerifierError": "errors",
    "FoundAnswers": "evaluation.search_answers",
    "search_answers": "evaluation.search_answers",
    "elect": "evaluation.voting",
    "Vote": "evaluation.voting",
    "DatasetWriter": "hub.dataset",
    "load_trees": "hub.dataset",
    "push_model": "hub.push",
    "push_space": "hub.push",
    "push_trees": "hub.push",
    "available_patterns": "mcts.pattern",
    "load_pattern": "mcts.pattern",
    "Pattern": "mcts.pattern",
    "search": "mcts.search",
    "SearchConfig": "mcts.search",
    "Node": "mcts.tree",
    "Tree": "mcts.tree",
    "decontaminate": "problems.decontamination",
    "load_problems": "problems.loading",
    "instructions_reward": "rewards",
    "letters_reward": "rewards",
    "math_reward": "rewards",
    "planning_reward": "rewards",
    "verifier_reward": "rewards",
    "advantage_rows": "selection.advantages",
    "Difficulty": "selection.difficulty",
    "difficulty": "selection.difficulty",
    "Judgements": "selection.judgements",
    "load_judgements": "selection.judgements",
    "select_preferences": "selection.selector",
    "select_sft": "selection.selector",
    "SelectionConfig": "selection.selector",
    "Selector": "selection.selector",
    "step_rows": "selection.steps",
    "value_rows": "selection.values",
    "starter_model": "starter.training",
    "read_traces": "traces.reading",
    "regrow": "traces.regrow",
    "RegrowConfig": "traces.regrow",
    "tree_of_traces": "traces.growing",
    "AnswerRateCallback": "trainers.callbacks",
    "LogProbabilityAlarm": "trainers.callbacks",
    "CDPOConfig": "trainers.cdpo_config",
    "CDPOTrainer": "trainers.cdpo_trainer",
    "JointSFTDPOConfig": "trainers.joint_sft_dpo_config",
    "JointSFTDPOTrainer": "trainers.joint_sft_dpo_trainer",
    "MaskedThoughtConfig": "trainers.masked_thought",
    "MaskedThoughtTrainer": "trainers.masked_thought",
    "REDIConfig": "trainers.redi",
    "REDITrainer": "trainers.redi",
    "TreeAdvantageConfig": "trainers.tree_advantage",
    "TreeAdvantageTrainer": "trainers.tree_advantage",
    "TreeSFTConfig": "trainers.tree_sft",
    "TreeSFTTrainer": "trainers.tree_sft",
    "ValueConfig": "trainers.value",
    "ValueTrainer": "trainers.value",
    "VerifierPool": "verifiers.worker",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name == "__version__":
        return version("hf-treecot")
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
