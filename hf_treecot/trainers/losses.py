"""The objectives of the trainers: plain functions of figures of pairs, of tokens, or of thoughts."""

import math

import torch
import torch.nn.functional as F


def preference_loss(
    delta: torch.Tensor, chosen_nll: torch.Tensor, beta: float, epsilon: float, alpha: float
) -> torch.Tensor:
    r"""
    The loss of both trainers: conservative DPO (Mitchell, 2023; paper, section 4.2) plus α times SFT (section 4.3).

    Args:
        delta (`torch.Tensor` of shape `(pairs,)`): Δ, the log-ratio of chosen less that of rejected.
        chosen_nll (`torch.Tensor` of shape `(pairs,)`): Mean negative log-likelihood of the tokens of chosen.
        beta (`float`): β.
        epsilon (`float`): ε.
        alpha (`float`): α.

    Returns:
        `torch.Tensor` of shape `(pairs,)`: −(1−ε) log σ(βΔ) − ε log σ(−βΔ) + α · chosen_nll.
    """
    loss = -(1 - epsilon) * F.logsigmoid(beta * delta) - epsilon * F.logsigmoid(-beta * delta)
    return loss + alpha * chosen_nll if alpha else loss


def advantage_score(log_probs: torch.Tensor, weights: torch.Tensor, clip: float) -> torch.Tensor:
    r"""
    What is made large of tokens that have an advantage: their weighted log-probability, from below only to a floor.

    A policy gradient without a reference: PPO's clip would need the probabilities at which the chains were sampled.
    Upward the log-likelihood is its own brake, since its gradient goes to 0 with 1 − p; downward it has none.

    Args:
        log_probs (`torch.Tensor`): Of tokens.
        weights (`torch.Tensor` of the same shape): Their advantages, over how many chains share them.
        clip (`float`): Probability below which a token with a negative weight is left alone.

    Returns:
        `torch.Tensor` of the same shape: w · log p, or w · max(log p, log clip) where w is negative.
    """
    floored = log_probs.clamp(min=math.log(clip))
    return weights * torch.where(weights < 0, floored, log_probs)


def value_loss(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    r"""
    Binary cross-entropy with soft labels: least where the sigmoid of a logit is the value.

    Args:
        logits (`torch.Tensor` of shape `(thoughts,)`): Of a scalar head.
        values (`torch.Tensor` of shape `(thoughts,)`): v/N of a search, in [0, 1].

    Returns:
        `torch.Tensor` of shape `(thoughts,)`: −v log σ(z) − (1−v) log σ(−z).
    """
    return -values * F.logsigmoid(logits) - (1 - values) * F.logsigmoid(-logits)


def redi_loss(chosen: torch.Tensor, rejected: torch.Tensor, alpha: float) -> torch.Tensor:
    r"""
    Reinforcement distillation, REDI (Xu et al., 2025, arXiv:2505.24850): likelier right chains, unlikelier wrong ones.

    There is no reference, and the two sides are weighted apart: at α = 1 the wrong side can drive both down, at α = 0
    this is SFT.

    Args:
        chosen (`torch.Tensor` of shape `(pairs,)`): Mean log-probability of the tokens of chosen, in nats per token.
        rejected (`torch.Tensor` of shape `(pairs,)`): The same of rejected.
        alpha (`float`): α, the weight of rejected; the source's is 0.8.

    Returns:
        `torch.Tensor` of shape `(pairs,)`: −chosen + α · rejected.
    """
    return -chosen + alpha * rejected
