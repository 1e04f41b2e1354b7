"""One token for every row of a small model: the same sums as in transformers, in fewer calls.

Of a model of some million parameters on a CPU the calls cost more than the sums: modules around functions, three
projections where one does, functions of two operands where one does all. It reads weights and must not know rows.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from .engine import SMALL_MODEL
from .slot_cache import SlotCache


ARCHITECTURES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
ROTARY_TYPES = ("default", "linear", "llama3", "yarn")  # whose angles depend on the position alone


@dataclass(frozen=True)
class Projection:
    """Linear layers of one input as one."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @classmethod
    def of(cls, *layers: nn.Linear) -> "Projection":
        """Their weights, one after the other."""
        bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers]).detach()
        return cls(torch.cat([layer.weight for layer in layers]).detach(), bias)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """All their outputs."""
        return functional.linear(states, self.weight, self.bias)


def can_decode(model) -> bool:
    """Whether a model is small, and of a kind whose sums are known here."""
    return (
        type(model) in ARCHITECTURES
        and model.device.type == "cpu"
        and model.dtype == torch.float32
        and model.num_parameters() < SMALL_MODEL
        and model.config.rope_parameters["rope_type"] in ROTARY_TYPES
        and model.config.hidden_act == "silu"
        and not any(_is_changed(name, module) for name, module in model.named_modules())
    )


def _is_changed(name: str, module: nn.Module) -> bool:
    """Adapters, quantised weights and hooks compute something else."""
    other = name.endswith("_proj") and type(module) is not nn.Linear
    return bool(other or module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


class SmallDecoder:
    """
    A small model as functions of its weights.

    Args:
        model (`~transformers.PreTrainedModel`): One that [`can_decode`].
    """

    def __init__(self, model):
        config = model.config
        self.model, self.heads, self.kv_heads = model, config.num_attention_heads, config.num_key_value_heads
        layers = model.model.layers
        attention = [layer.self_attn for layer in layers]
        self.head_dim = attention[0].head_dim
        self.inward = [Projection.of(a.q_proj, a.k_proj, a.v_proj) for a in attention]
        self.outward = [Projection.of(a.o_proj) for a in attention]
        self.up = [Projection.of(layer.mlp.gate_proj, layer.mlp.up_proj) for layer in layers]
        self.down = [Projection.of(layer.mlp.down_proj) for layer in layers]
        self.norms = [(layer.input_layernorm, layer.post_attention_layernorm) for layer in layers]
        self.head_norms = [(a.q_norm, a.k_norm) if hasattr(a, "q_norm") else None for a in attention]
        positions = torch.arange(config.max_position_embeddings).unsqueeze(0)
        with torch.inference_mode():
            cosine, sine = model.model.rotary_emb(layers[0].mlp.up_proj.weight, positions)
        half = self.head_dim // 2
        self.cosine = cosine[0].unsqueeze(1)
        self.sine = torch.cat([-sine[0, :, :half], sine[0, :, half:]], dim=-1).unsqueeze(1)  # of x rolled by a half

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: SlotCache
    ) -> torch.Tensor:
        """
        Logits of the tokens after some.

        Args:
            tokens, positions (`torch.Tensor` of shape `(rows,)`): One of every row.
            mask (`torch.Tensor` of shape `(rows, 1, 1, length)`): Which positions they see.
            cache ([`SlotCache`]): Opened for these rows.

        Returns:
            `torch.Tensor` of shape `(rows, vocabulary)`.
        """
        rows, split = len(tokens), (self.heads + self.kv_heads) * self.head_dim
        cosine, sine = self.cosine[positions], self.sine[positions]
        mask = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)  # once, and not in every layer
        states = self.model.model.embed_tokens(tokens)
        for layer, (before_attention, before_mlp) in enumerate(self.norms):
            inward = self.inward[layer](_norm(states, before_attention))
            turned = inward[:, :split].view(rows, -1, self.head_dim)
            if norms := self.head_norms[layer]:
                query, key = turned.split([self.heads, self.kv_heads], dim=1)
                turned = torch.cat([_norm(query, norms[0]), _norm(key, norms[1])], dim=1)
            turned = torch.addcmul(turned * cosine, turned.roll(self.head_dim // 2, dims=-1), sine)
            key = turned[:, self.heads :].unsqueeze(2)
            value = inward[:, split:].view(rows, self.kv_heads, 1, self.head_dim)
            keys, values = cache.layers[layer].update(key, value)
            # Heads that share a key are, to it, tokens at one position.
            query = turned[:, : self.heads].reshape(rows, self.kv_heads, -1, self.head_dim)
            attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            states = states + self.outward[layer](attended.reshape(rows, -1))
            gate, up = self.up[layer](_norm(states, before_mlp)).chunk(2, dim=-1)
            states = states + self.down[layer](functional.silu(gate).mul_(up))
        return self.model.lm_head(_norm(states, self.model.model.norm))


def _norm(states: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    return functional.rms_norm(states, states.shape[-1:], norm.weight, norm.variance_epsilon)
