"""A value model in this process: how likely a chain is to end in a right answer, asked by many at the same time.

It knows texts and a transformers model with a scalar head. It must not know trees, nor what becomes of a value.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from transformers import AutoModelForTokenClassification

from ..errors import InvalidInputError
from .chat_template import encode_thoughts
from .engine import SMALL_MODEL, EngineIdentity
from .local_model import identify, load_model


class ValueModel:
    """
    A model that [`~trainers.ValueTrainer`] has trained.

    Args:
        model (`~transformers.PreTrainedModel`): A token classifier with one label, whose sigmoid is the value.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): A fast one, with a chat template.
        identity ([`EngineIdentity`]): All that its values depend on.
        max_tokens_per_batch (`int`): Tokens of a padded batch, at most; a single chain may have more.

    Example:

    ```python
    model = ValueModel.from_pretrained("runs/demo/value")
    model.score([("How much is 2 + 2?", "<thinking>2 + 2 = 4</thinking>")])
    ```
    """

    def __init__(self, model, tokenizer, identity: EngineIdentity, max_tokens_per_batch: int = 16_384):
        self.model, self.tokenizer, self.identity = model.eval(), tokenizer, identity
        self.max_tokens_per_batch = max_tokens_per_batch
        self._waiting: list[tuple[tuple[str, str], asyncio.Future]] = []
        self._worker: asyncio.Task | None = None
        is_small = model.device.type == "cpu" and model.num_parameters() < SMALL_MODEL
        few_threads = partial(torch.set_num_threads, 1) if is_small else None  # of that thread alone
        self._thread = ThreadPoolExecutor(1, "treecot-value-model", few_threads)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> "ValueModel":
        """
        Load a value model from the Hub or a directory.

        Args:
            name_or_path (`str`): Hub name or directory.
            revision (`str`, *optional*): Branch, tag or commit.
            dtype (`str`, *optional*): `"float32"` on a CPU and `"bfloat16"` on a GPU, unless given.
            device (`str`, *optional*): A GPU if there is one.
            trust_remote_code (`bool`): Run code that comes with the model.

        Raises:
            InvalidInputError: There is none, or it is a model of another kind.
        """
        model, tokenizer = load_model(
            name_or_path, revision, dtype, device, trust_remote_code, AutoModelForTokenClassification
        )
        kinds = model.config.architectures or [""]
        if model.config.num_labels != 1 or not kinds[0].endswith("ForTokenClassification"):
            raise InvalidInputError(
                f"value_model={name_or_path!r} is no value model ({kinds[0]} with {model.config.num_labels} labels): "
                "train one with `treecot value`"
            )
        return cls(model, tokenizer, identify(model, tokenizer, name_or_path, revision))

    def score(self, chains: Sequence[tuple[str, str]]) -> list[float]:
        """
        How likely chains are to end in a right answer; blocks.

        Args:
            chains (`Sequence[tuple[str, str]]`): Problems, and the assistant's turns so far.

        Returns:
            `list[float]`: From 0 to 1.
        """
        lines = []
        for prompt, chain in chains:
            # The last line by itself: a prompt may have written the beginning of the first already.
            head, newline, tail = chain.strip().rpartition("\n")
            lines.append((prompt, [head + newline, tail]))
        return [values[-1] for values in self.score_thoughts(lines)]

    @torch.no_grad()
    def score_thoughts(self, chains: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """
        How likely chains are to end in a right answer after each of their thoughts; blocks.

        Args:
            chains (`Sequence[tuple[str, Sequence[str]]]`): Problems, and thoughts that make up the assistant's turn.

        Returns:
            `list[list[float]]`: From 0 to 1, for every thought of every chain.
        """
        rows = [
            encode_thoughts(self.tokenizer, [{"role": "user", "content": prompt}], thoughts)
            for prompt, thoughts in chains
        ]
        ids = [row.ids[: row.last_tokens[-1] + 1] for row in rows]
        order = sorted(range(len(rows)), key=lambda i: -len(ids[i]))
        values: list[list[float]] = [[]] * len(rows)
        while order:
            width = len(ids[order[0]])
            size = max(1, self.max_tokens_per_batch // width)
            batch, order = order[:size], order[size:]
            padded = torch.tensor([ids[i] + [ids[i][-1]] * (width - len(ids[i])) for i in batch])
            mask = torch.tensor([[1] * len(ids[i]) + [0] * (width - len(ids[i])) for i in batch])
            device = self.model.device
            logits = self.model(input_ids=padded.to(device), attention_mask=mask.to(device), use_cache=False).logits
            for i, scores in zip(batch, logits[..., 0].double().sigmoid().cpu(), strict=True):
                values[i] = scores[rows[i].last_tokens].tolist()
        return values

    async def value(self, prompt: str, chain: str) -> float:
        """
        The same of one chain, without blocking the event loop: those that wait at the same time are one batch.

        Args:
            prompt (`str`): The problem.
            chain (`str`): The assistant's turn so far.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(((prompt, chain), future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())
        return await future

    async def _work(self) -> None:
        """Score what waits, until nothing does."""
        await asyncio.sleep(0)  # others who run now may ask, too
        while waiting := [item for item in self._waiting if not item[1].done()]:
            self._waiting = []
            try:
                chains = [chain for chain, _ in waiting]
                values = await asyncio.get_running_loop().run_in_executor(self._thread, self.score, chains)
            except Exception as error:
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), value in zip(waiting, values, strict=True):
                if not future.done():
                    future.set_result(value)
