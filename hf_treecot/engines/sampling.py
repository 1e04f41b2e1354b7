"""Sampling one token per row, each row with its own settings and its own randomness.

A row's token depends on its logits, its settings and one uniform number of its own, so a request gets the same tokens
whatever batch it runs in.
"""

import torch


def sample(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Draw one token per row by inverting the cumulative distribution.

    Args:
        logits (`torch.Tensor` of shape `(rows, vocabulary)`): Next-token logits.
        temperature (`torch.Tensor` of shape `(rows,)`): 0 is greedy.
        top_p (`torch.Tensor` of shape `(rows,)`): Nucleus, in (0, 1]; 1 is off.
        uniform (`torch.Tensor` of shape `(rows,)`): One number in [0, 1) a row, float64.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: The tokens, and their log-probabilities under the untempered model.
    """
    logits = logits.double()  # sums over a large vocabulary must not depend on rounding
    greedy = temperature == 0
    probabilities = torch.softmax(logits / torch.where(greedy, 1.0, temperature).unsqueeze(1), dim=-1)
    if bool((top_p < 1).any()):
        probabilities = _nucleus(probabilities, top_p)
    cumulative = probabilities.cumsum(-1)
    target = uniform * cumulative[:, -1]
    drawn = (cumulative <= target.unsqueeze(1)).sum(-1).clamp(max=logits.shape[1] - 1)
    tokens = torch.where(greedy, logits.argmax(-1), drawn)
    log_probabilities = torch.log_softmax(logits, dim=-1).gather(1, tokens.unsqueeze(1)).squeeze(1)
    return tokens, log_probabilities


def _nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero outside the smallest set of most probable tokens whose mass reaches top_p; in vocabulary order."""
    for size in (32, 256, probabilities.shape[1]):  # it is rare that a nucleus is large
        largest = probabilities.topk(min(size, probabilities.shape[1])).values
        if bool((largest.sum(-1) >= top_p).all()):
            break
    mass_before = largest.cumsum(-1) - largest
    threshold = torch.where(mass_before < top_p.unsqueeze(1), largest, torch.inf).amin(-1, keepdim=True)
    return torch.where(probabilities >= threshold, probabilities, 0.0)
