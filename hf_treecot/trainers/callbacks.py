"""Callbacks that catch the paper's failure while it happens: a model that learns preferences and forgets to answer."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import Trainer, TrainerCallback
from transformers.utils import logging
from trl.models.utils import unwrap_model_for_generation

from ..base import Problem
from ..engines.chat_template import render_messages
from ..errors import InvalidInputError
from ..think_blocks import opened_by
from ..verifiers.diagnostics import repetition
from ..verifiers.judging import judge_all
from .trl_compat import attention_of, row_of_its_own


logger = logging.get_logger(__name__)


class AnswerRateCallback(TrainerCallback):
    """
    Every so many steps, answers some problems with the model, and logs `answers/accuracy`, `answers/no_answer_rate`,
    `answers/repetition` and `answers/length` (tokens).

    Args:
        trainer (`~transformers.Trainer`): The trainer whose model is watched.
        problems (`Sequence[Problem]`): Held-out problems, with their verifiers.
        every_n_steps (`int`): How often; also before the first step and after the last.
        max_new_tokens (`int`): Tokens of an answer: one that is not done by then has not answered.
        temperature (`float`): 0 is greedy.
        max_no_answer_rate (`float`, *optional*): Stop training when the no-answer rate is above it.

    Raises:
        InvalidInputError: A value is out of its range.

    Example:

    ```python
    trainer.add_callback(AnswerRateCallback(trainer, load_problems("letters", limit=32), every_n_steps=50))
    ```
    """

    def __init__(
        self,
        trainer: Trainer,
        problems: Sequence[Problem],
        every_n_steps: int = 50,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        max_no_answer_rate: float | None = None,
    ):
        if not problems or every_n_steps < 1 or max_new_tokens < 1 or temperature < 0:
            raise InvalidInputError(
                f"{len(problems)} problems, every_n_steps={every_n_steps}, max_new_tokens={max_new_tokens}, "
                f"temperature={temperature}: all must be positive, and temperature at least 0"
            )
        if max_no_answer_rate is not None and not 0 <= max_no_answer_rate <= 1:
            raise InvalidInputError(f"max_no_answer_rate={max_no_answer_rate} must be between 0 and 1")
        # FSDP2 shards a model in place, so that its own `generate` gathers what it needs; FSDP1 wraps it.
        if trainer.is_fsdp_enabled and not trainer.accelerator.is_fsdp2:
            raise InvalidInputError(
                "the model is sharded by FSDP 1, which cannot answer while training: set fsdp_version to 2, or watch "
                "nothing"
            )
        self.trainer, self.problems, self.every_n_steps = trainer, list(problems), every_n_steps
        self.max_new_tokens, self.temperature, self.max_no_answer_rate = (
            max_new_tokens,
            temperature,
            max_no_answer_rate,
        )

    def on_train_begin(self, args, state, control, **kwargs):
        """Where the model starts from."""
        if state.global_step == 0:
            self._watch(control)

    def on_step_end(self, args, state, control, **kwargs):
        """Every so many steps, and after the last."""
        if state.global_step % self.every_n_steps == 0 or state.global_step == state.max_steps:
            self._watch(control)

    def _watch(self, control) -> None:
        metrics = self.measure()
        should_log = control.should_log
        with row_of_its_own(self.trainer):
            self.trainer.log(dict(metrics))
        control.should_log = should_log
        rate = metrics["answers/no_answer_rate"]
        if self.max_no_answer_rate is not None and rate > self.max_no_answer_rate:
            logger.warning(
                f"Training stops: {rate:.0%} of the outputs have no answer, more than "
                f"max_no_answer_rate={self.max_no_answer_rate:.0%}."
            )
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """The metrics of the model as it is now, over all processes."""
        accelerator = self.trainer.accelerator
        own = self.problems[accelerator.process_index :: accelerator.num_processes]
        # All processes generate equally often: with sharded weights they need one another.
        rounds = -(-len(self.problems) // accelerator.num_processes)
        outputs = self._answer((own + self.problems)[:rounds])[: len(own)]
        texts, lengths = [text for text, _ in outputs], [length for _, length in outputs]
        truncated = [length >= self.max_new_tokens for length in lengths]
        # A thread of its own: in a notebook this one runs an event loop already.
        with ThreadPoolExecutor(1) as executor:
            judged = executor.submit(asyncio.run, judge_all(texts, own, lengths, truncated)).result()
        rewards = [output.reward for output in judged if output.verdict is not None]
        sums = torch.tensor(
            [
                sum(rewards),
                len(rewards),
                sum(bool(output.no_answer) for output in judged),
                sum(map(repetition, texts)),
                sum(lengths),
                len(outputs),
            ],
            dtype=torch.float32,
            device=accelerator.device,
        )
        right, verified, unanswered, repeated, length, count = accelerator.reduce(sums, "sum").tolist()
        return {
            "answers/accuracy": right / max(verified, 1),
            "answers/no_answer_rate": unanswered / count,
            "answers/repetition": repeated / count,
            "answers/length": length / count,
            "answers/verifier_failures": count - verified,
        }

    def _answer(self, problems: Sequence[Problem]) -> list[tuple[str, int]]:
        """An output for every problem, and its length in tokens."""
        trainer, tokenizer = self.trainer, self.trainer.processing_class
        prompts = [render_messages(tokenizer, [{"role": "user", "content": problem.prompt}]) for problem in problems]
        sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        outputs = []
        training = trainer.model.training
        unwrapped = unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator)
        # autocast: what is unwrapped has lost it, and FSDP2's layers may give float32 to a head in bfloat16.
        with unwrapped as model, torch.no_grad(), trainer.accelerator.autocast():
            model.eval()
            attention = attention_of(model)
            if attention == "flex_attention":  # it would be compiled for every length
                model.set_attn_implementation("sdpa")
            for start in range(0, len(prompts), trainer.args.per_device_eval_batch_size):
                inputs = tokenizer(
                    prompts[start : start + trainer.args.per_device_eval_batch_size], return_tensors="pt",
                    padding=True, padding_side="left", add_special_tokens=False, return_token_type_ids=False,
                ).to(trainer.accelerator.device)  # fmt: skip
                ids = model.generate(
                    **inputs, max_new_tokens=self.max_new_tokens, pad_token_id=tokenizer.pad_token_id,
                    synced_gpus=trainer.accelerator.num_processes > 1, **sampling,
                )  # fmt: skip
                for row in ids[:, inputs["input_ids"].shape[1] :]:
                    tokens = row[row != tokenizer.pad_token_id]
                    text = opened_by(prompts[len(outputs)]) + tokenizer.decode(tokens, skip_special_tokens=True)
                    outputs.append((text, len(tokens)))
            model.set_attn_implementation(attention)
            model.train(training)
        return outputs


class LogProbabilityAlarm(TrainerCallback):
    """
    Warns when the chosen answers become unlikely: preference losses may lower both sides as long as their gap grows.

    Args:
        max_fall (`float`): Nats per token below the first figure that was logged.
    """

    def __init__(self, max_fall: float = 0.1):
        self.max_fall, self.first, self.has_warned = max_fall, None, False

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Compare what is logged with the first."""
        if not logs or "logps/chosen" not in logs or not logs.get("length/chosen"):
            return
        value = logs["logps/chosen"] / logs["length/chosen"]
        self.first = value if self.first is None else self.first
        if self.first - value > self.max_fall and not self.has_warned:
            self.has_warned = True
            remedy = "lower redi_alpha" if hasattr(args, "redi_alpha") else "raise alpha or beta"
            logger.warning(
                f"The chosen answers have become less likely, from {self.first:.3f} to {value:.3f} nats per token at "
                f"step {state.global_step}: {remedy}, or lower the learning rate."
            )
