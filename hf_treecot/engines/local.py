"""The embedded engine: a transformers model in this process that batches whatever is asked of it at the same time.

One thread owns the model. Requests join the running batch as slots become free, whatever their lengths, sampling
settings and stop strings, and leave it as they finish; a prefix that several requests share is computed once.
"""

import logging
import queue
import threading
import time

import torch

from ..attention_kernels import kernels_for_any_length
from ..errors import ContextLengthError, EngineError, InvalidInputError
from .chat_template import render_messages
from .engine import SMALL_MODEL, Completion, EngineIdentity, Request, Tell
from .local_model import AttentionMask, cache_argument, check_model, end_tokens, identify, load_model
from .local_rows import Row, RowReader
from .sampling import sample
from .slot_cache import PathCache, SlotCache
from .small_decoder import SmallDecoder, can_decode


logger = logging.getLogger(__name__)
GATHER_SECONDS = 0.003  # callers of one expansion arrive within this time,
PAUSE_SECONDS = 0.0005  # one soon after the other
ADMIT_EVERY = 8  # steps: a prefill for every newcomer would stall those who run
TOLERANCE = {torch.float32: 0.01, torch.float64: 0.01}  # of what a batch changes; a wrong mask changes far more
ROUGH_TOLERANCE = 0.5  # of other precisions, in which an expert of a mixture may be chosen by the rounding


class LocalEngine:
    """
    A causal language model of transformers as an engine.

    Args:
        model (`~transformers.PreTrainedModel`): With full attention, or the same sliding window, in every layer, by
            sdpa or eager. Its weights must not change from now on.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): With a chat template.
        max_batch_size (`int`): Requests that run at the same time; more wait.
        path_cache_bytes (`int`): Memory for the keys and values of finished paths; 0 keeps none.
        num_threads (`int`, *optional*): Threads that torch uses. By default one for a small model on a CPU, else
            torch's own choice.
        identity ([`EngineIdentity`], *optional*): What trees record of it.

    Raises:
        InvalidInputError: The model has attention of another kind, computes something else in a batch than alone, or
            there is no chat template.

    Example:

    ```python
    engine = LocalEngine.from_pretrained("Qwen/Qwen2.5-0.5B-Instruct")
    completion = await engine.generate(Request("2 + 2 =", ("\\n",), 8, temperature=0.0, top_p=1.0, seed=0))
    ```
    """

    streams = True  # `generate` tells what it writes

    def __init__(
        self,
        model,
        tokenizer,
        *,
        max_batch_size: int = 64,
        path_cache_bytes: int = 256 * 2**20,
        num_threads: int | None = None,
        identity: EngineIdentity | None = None,
    ):
        if max_batch_size < 1:
            raise InvalidInputError(f"max_batch_size={max_batch_size} is out of range: it must be at least 1")
        check_model(model, tokenizer)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.identity = identity or identify(model, tokenizer)
        self.max_batch_size = max_batch_size
        self.max_length = min(model.config.max_position_embeddings, tokenizer.model_max_length)
        if num_threads is None and model.device.type == "cpu" and model.num_parameters() < SMALL_MODEL:
            num_threads = 1
        self._num_threads = num_threads
        self._mask = AttentionMask(model)
        self._cache_argument = cache_argument(model)
        self._decoder = SmallDecoder(model) if can_decode(model) else None
        self._reader = RowReader(tokenizer, end_tokens(model, tokenizer))
        self._path_cache_bytes = path_cache_bytes
        self._check_batches()
        self._waiting: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._steps_since_admission = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        name: str | None = None,
        **kwargs,
    ) -> "LocalEngine":
        """
        Load a model and its tokenizer from the Hub or a directory.

        Args:
            name_or_path (`str`): Hub name or directory.
            revision (`str`, *optional*): Branch, tag or commit.
            dtype (`str`, *optional*): `"float32"` on a CPU and `"bfloat16"` on a GPU, unless given. In `"float64"`
                completions do not depend on the batch even in the last bit.
            device (`str`, *optional*): A GPU if there is one.
            trust_remote_code (`bool`): Run code that comes with the model.
            name (`str`, *optional*): What trees record instead of `name_or_path`, for a directory that only this
                machine knows.
            **kwargs: Arguments of [`LocalEngine`].
        """
        model, tokenizer = load_model(name_or_path, revision, dtype, device, trust_remote_code)
        return cls(model, tokenizer, identity=identify(model, tokenizer, name or name_or_path, revision), **kwargs)

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""
        return render_messages(self.tokenizer, messages)

    async def generate(self, request: Request, tell: Tell | None = None) -> Completion:
        """
        Write one thought; see [`Engine.generate`].

        Raises:
            ContextLengthError: The prompt leaves no room in the model's context.
            EngineError: The model failed.
        """
        if self._closed:
            raise EngineError("the engine is closed")
        prompt = self.tokenizer(request.prompt, add_special_tokens=False)["input_ids"]
        budget = min(request.max_new_tokens, self.max_length - len(prompt))
        if budget < 1 or not prompt:
            raise ContextLengthError(
                f"a prompt of {len(prompt)} tokens does not fit: it must have at least one, and leave room in the "
                f"{self.max_length} of model {self.identity.model!r}"
            )
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="treecot-local-engine", daemon=True)
            self._thread.start()
        row = Row.of(request, prompt, budget, tell)
        self._waiting.put(row)
        return await row.future

    def close(self) -> None:
        """End the thread; requests that still run are dropped."""
        self._closed = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._num_threads is not None:
            torch.set_num_threads(self._num_threads)  # of this thread
        with torch.inference_mode():
            while not self._closed:
                newcomers = self._newcomers()
                failed = None
                try:
                    self._admit(newcomers)
                    self._step()
                except Exception as error:  # whatever the model raised: it may be the matter of one row
                    failed = _describe(error)
                if failed is not None:  # out of the handler, which would keep the failed call's memory
                    rows = {id(row): row for row in self._rows + newcomers if not row.done}
                    logger.warning("%s failed (%s): its requests go on one by one", self.identity.model, failed)
                    self._go_on_one_by_one(list(rows.values()))

    def _go_on_one_by_one(self, rows: list[Row]) -> None:
        """After a failure: every row from what it has so far, without the others. One that fails again has failed."""
        self._forget()
        for row in rows:
            if self._closed:
                return
            try:
                self._admit([] if row.future.cancelled() else [row])
                while self._rows and not self._closed:
                    self._step()
            except Exception as error:
                failed = EngineError(f"model {self.identity.model!r} failed: {_describe(error)}")
                failed.__cause__ = error
                row.answer(failed)
                self._forget()

    def _forget(self) -> None:
        """Start with no rows, and with no keys and values: a call that failed may have left anything in them."""
        self._rows: list[Row] = []  # row i lives in slot i
        self._cache = SlotCache(self.model.config.num_hidden_layers, self.max_batch_size)
        self._paths = PathCache(self._path_cache_bytes)

    def _check_batches(self) -> None:
        """
        See that the model heeds positions and masks: not all do, and what they write would be wrong without a word.

        Raises:
            InvalidInputError: Rows of two lengths have other scores together than each alone.
        """
        vocabulary, device = self.model.config.vocab_size, self.model.device
        rows = [[i % vocabulary for i in range(1, 1 + min(n, self.max_length))] for n in (3, 12)]
        positions = torch.tensor([[len(row) - 1] for row in rows], device=device)
        self._forget()
        self._cache = SlotCache(self.model.config.num_hidden_layers, len(rows))
        try:
            with torch.inference_mode():
                alone = [self.model(torch.tensor([row], device=device), use_cache=False).logits[0, -1] for row in rows]
                self._prefill([row[:-1] for row in rows], 0)
                self._cache.open(0, len(rows), positions, longest := int(positions.max()) + 1)
                together = self._next_scores(
                    torch.tensor([row[-1] for row in rows], device=device), positions, longest
                )
                difference = float((together - torch.stack(alone)).norm() / torch.stack(alone).norm())
        except Exception as error:  # whatever a model that is not made for this does
            raise InvalidInputError(
                f"model {self.identity.model!r} cannot be run here ({_describe(error)}): try another dtype, or serve "
                "it with text-generation-inference or vLLM instead"
            ) from error
        self._forget()
        if not difference < TOLERANCE.get(self.model.dtype, ROUGH_TOLERANCE):
            raise InvalidInputError(
                f"model {self.identity.model!r} computes something else in a batch than alone (its scores differ by "
                f"{difference:.0%}): serve it with text-generation-inference or vLLM instead"
            )

    def _newcomers(self) -> list[Row]:
        """Requests that join now: at once if nothing runs, else when a few steps have passed."""
        self._steps_since_admission += 1
        free = self.max_batch_size - len(self._rows)
        newcomers: list[Row] = []
        if self._rows and (free == 0 or self._steps_since_admission < ADMIT_EVERY):
            return newcomers
        deadline = None
        while len(newcomers) < free:
            try:
                if self._rows:
                    row = self._waiting.get_nowait()
                elif deadline is None:
                    row = self._waiting.get()
                else:
                    row = self._waiting.get(timeout=min(PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
            if row is None:
                break
            if not row.future.cancelled():
                newcomers.append(row)
                deadline = deadline or time.monotonic() + GATHER_SECONDS
        self._steps_since_admission = 0
        return newcomers

    def _admit(self, newcomers: list[Row]) -> None:
        """Give newcomers slots, with the keys and values of all their tokens but the last."""
        if not newcomers:
            return
        by_prefix: dict[tuple[int, ...], list[Row]] = {}
        for row in newcomers:
            by_prefix.setdefault(tuple(row.tokens[:-1]), []).append(row)
        first = len(self._rows)
        self._prefill([list(prefix) for prefix in by_prefix], first)
        self._rows += [rows[0] for rows in by_prefix.values()]
        for slot, (prefix, rows) in enumerate(by_prefix.items(), start=first):
            for row in rows[1:]:
                self._cache.copy_row(slot, len(self._rows), len(prefix))
                self._rows.append(row)

    def _prefill(self, prefixes: list[list[int]], first: int) -> None:
        """Compute what is not in the path cache of some prefixes, in one forward call, into slots from `first` on."""
        found = [self._paths.find(prefix) for prefix in prefixes]
        lengths = [length for length, _ in found]
        width = max(len(p) - n for p, n in zip(prefixes, lengths, strict=True))
        device = self.model.device
        tokens = torch.zeros(len(prefixes), max(width, 1), dtype=torch.long)
        for i, (prefix, n) in enumerate(zip(prefixes, lengths, strict=True)):
            tokens[i, : len(prefix) - n] = torch.tensor(prefix[n:], dtype=torch.long)
        positions = (torch.tensor(lengths).unsqueeze(1) + torch.arange(max(width, 1))).to(device)
        longest = int(positions.max()) + 1
        self._cache.open(first, first + len(prefixes), positions, longest)
        for i, (n, states) in enumerate(found):
            if n:
                self._cache.write_row(first + i, states, n)
        if width:
            self._forward(tokens.to(device), positions, longest)

    def _forward(self, tokens: torch.Tensor, positions: torch.Tensor, longest: int) -> torch.Tensor:
        """Logits of the last token of every row, `(rows, vocabulary)`; the longest row has so many tokens."""
        with kernels_for_any_length():
            outputs = self.model(
                input_ids=tokens,
                # A rotary embedding knows no position beyond the context; padding is never seen, so any will do.
                position_ids=positions.clamp(max=self.max_length - 1),
                attention_mask=self._mask(positions, longest),
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_argument: self._cache},
            )
        return outputs.logits[:, -1]

    def _next_scores(self, last: torch.Tensor, positions: torch.Tensor, longest: int) -> torch.Tensor:
        """The same for one token of every row, `(rows,)`, at its position, `(rows, 1)`."""
        if self._decoder is None:
            return self._forward(last.unsqueeze(1), positions, longest)
        return self._decoder(last, positions.squeeze(1), self._mask(positions, longest), self._cache)

    def _step(self) -> None:
        """One token for every row."""
        rows = self._rows
        if not rows:
            return
        device = self.model.device
        last = [(row.generated or row.prompt)[-1] for row in rows]
        positions = torch.tensor([row.length - 1 for row in rows])
        longest = int(positions.max()) + 1
        positions = positions.unsqueeze(1).to(device)
        self._cache.open(0, len(rows), positions, longest)
        logits = self._next_scores(torch.tensor(last, device=device), positions, longest)
        settings = [(r.request.temperature, r.request.top_p, r.uniforms[len(r.generated)]) for r in rows]
        temperature, top_p, uniform = torch.tensor(settings, dtype=torch.float64, device=device).unbind(1)
        tokens, log_probabilities = sample(logits, temperature, top_p, uniform)
        finished = []
        for i, (token, log_probability) in enumerate(zip(tokens.tolist(), log_probabilities.tolist(), strict=True)):
            if self._reader.advance(rows[i], token, log_probability):
                finished.append(i)
        for i in reversed(finished):
            self._release(i)

    def _release(self, slot: int) -> None:
        """Free a slot: remember its path, and move the last row into it so that the batch stays dense."""
        row = self._rows[slot]
        path = row.tokens[:-1]  # the last token was never fed
        if self._paths.budget:
            self._paths.store(path, self._cache.read_row(slot, len(path)))
        last = self._rows.pop()
        if slot < len(self._rows):
            self._rows[slot] = last
            self._cache.copy_row(len(self._rows), slot, last.length - 1)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
