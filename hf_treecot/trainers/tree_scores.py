"""What a model says of the tokens of a packed batch, put back into the rows that they were packed from.

This module knows models and packed batches, nothing of losses.
"""

from dataclasses import dataclass

import torch

from .tree_attention import FLEX, NAME, TreePlan, attend_as_tree
from .trl_compat import attention_of, scoring_only


FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")


@dataclass(frozen=True)
class TokenScores:
    """What a model says of every token after the first of every row, `(rows, length - 1)`; 0 where none is learnt."""

    log_probs: torch.Tensor
    entropy: torch.Tensor | None = None
    mean_logits: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    aux_loss: torch.Tensor | None = None  # of a mixture of experts' routers: one figure for the batch


def see_trees(models: list, may_choose_flex: bool) -> None:
    """
    Give models an attention that knows trees.

    Args:
        models (`list[~transformers.PreTrainedModel]`): The models.
        may_choose_flex (`bool`): Whether nobody asked for another attention than flex.
    """
    for model in models:
        is_flex = may_choose_flex or attention_of(model) == "flex_attention"
        model.set_attn_implementation(FLEX if is_flex else NAME)


def score_tree(model, unwrapped, inputs: dict[str, torch.Tensor], learnt: torch.Tensor) -> TokenScores:
    """
    Forward a packed batch, every token once.

    Args:
        model (`torch.nn.Module`): With TRL's fused head; it may be wrapped by DDP or FSDP.
        unwrapped (`~transformers.PreTrainedModel`): The same without wrappers.
        inputs (`dict[str, torch.Tensor]`): What [`~tree_packing.pack`] made. The plan of attention is added to it, so
            that a second model, the reference, finds it there.
        learnt (`torch.Tensor` of shape `(rows, length - 1)`): Which tokens after the first of every row are scored.

    Returns:
        [`TokenScores`]
    """
    ids, index = inputs["tree_input_ids"], inputs["tree_index"]
    wanted = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device)
    wanted[index[learnt]] = True
    places = (wanted.cumsum(0) - 1).clamp(min=0)[index]
    plan = inputs.setdefault("tree_plan", TreePlan(inputs["tree_ends"], inputs["tree_position_ids"]))
    with scoring_only(unwrapped, wanted.view_as(ids)):
        outputs = model(
            input_ids=ids, position_ids=inputs["tree_position_ids"], use_cache=False, fused_lm_head=True,
            shift_labels=ids.view(-1).roll(-1)[wanted][None], **attend_as_tree(unwrapped, plan),
        )  # fmt: skip

    def unpack(scores: torch.Tensor | None) -> torch.Tensor | None:
        return None if scores is None else scores.view(-1)[places] * learnt

    return TokenScores(*(unpack(getattr(outputs, name)) for name in FIELDS))
