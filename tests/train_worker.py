"""Training runs in processes of their own, for tests: `torchrun -m tests.train_worker MODEL DIRECTORY RUNS`."""

import json
import os
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from datasets import concatenate_datasets
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback

from hf_treecot.base import Problem
from hf_treecot.trainers import AnswerRateCallback, JointSFTDPOConfig, JointSFTDPOTrainer

from .tiny_models import tiny_tokenizer, token_pairs


def allow_fsdp_on_cpus() -> None:
    """accelerate takes FSDP for types of GPUs alone; torch shards over gloo just as well."""
    initialize = AcceleratorState.__init__

    def initialize_with_fsdp(self, *args, fsdp_plugin=None, **kwargs):
        initialize(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and PartialState().distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = initialize_with_fsdp


class FloatHead(TrainerCallback):
    """Gives the head float32 when training begins, as FSDP2 of torch 2.11 does where its outputs are float32."""

    def __init__(self, trainer):
        self.trainer = trainer

    def on_train_begin(self, *args, **kwargs):
        head = self.trainer.model_wrapped.get_output_embeddings()
        head.register_forward_pre_hook(lambda module, states: (states[0].float(),))


def main(path: str, directory: str, runs: str) -> None:
    """Train once for every name and changes of `runs`, one after the other, and write the losses of each."""
    allow_fsdp_on_cpus()
    environment = dict(os.environ)
    for name, changes in json.loads(runs).items():
        AcceleratorState._reset_state()  # of precision and sharding: the processes stay as they are
        for variable in os.environ.keys() - environment:  # arguments leave some for accelerate
            del os.environ[variable]
        train(path, Path(directory), name, {"max_steps": 4, "save_strategy": "no", "bf16": False, **changes})


def train(path: str, directory: Path, name: str, changes: dict) -> None:
    """Train, and write the losses to NAME.json; `resume` is a checkpoint of a run that is named before the slash."""
    resume, watch, save = changes.pop("resume", None), changes.pop("watch", False), changes.pop("save", False)
    adapters = LoraConfig(r=2, target_modules=["q_proj", "v_proj"]) if changes.pop("adapters", False) else None
    if "deepspeed" in changes:
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")  # accelerate does it for GPUs alone
    arguments = JointSFTDPOConfig(
        output_dir=f"{directory}/{name}", lr_scheduler_type="constant", report_to="none", use_cpu=True,
        disable_tqdm=True, logging_steps=1, max_length=None, eval_on_start=True,
        **{"optim": "sgd", "learning_rate": 1e-2, **changes},
    )  # fmt: skip
    data = concatenate_datasets([token_pairs(6, 4), token_pairs(2, 3, seed=9)])
    trainer = JointSFTDPOTrainer(
        AutoModelForCausalLM.from_pretrained(path), args=arguments, train_dataset=data,
        eval_dataset=token_pairs(5, 3, seed=4), processing_class=tiny_tokenizer(), peft_config=adapters,
    )  # fmt: skip
    if watch:
        if "fsdp" in changes:
            trainer.add_callback(FloatHead(trainer))
        problems = [Problem(str(number), "How many?", "4", "letters") for number in range(3)]
        trainer.add_callback(AnswerRateCallback(trainer, problems, every_n_steps=2, max_new_tokens=6))
    trainer.train(resume_from_checkpoint=resume and f"{directory}/{resume}")
    if save:
        trainer.save_model(f"{directory}/{name}/final")
    if trainer.is_world_process_zero():
        losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        watched = [log["step"] for log in trainer.state.log_history if "answers/no_answer_rate" in log]
        result = {
            "losses": losses, "processes": trainer.accelerator.num_processes, "watched": watched,
            "eval_loss": next(log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log),
        }  # fmt: skip
        (directory / f"{name}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
