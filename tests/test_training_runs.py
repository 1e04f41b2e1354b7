"""Whole training runs: every parameter moves, runs resume, and several processes are one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_treecot.trainers import JointSFTDPOConfig, JointSFTDPOTrainer

from .tiny_models import save_tiny, tiny_tokenizer, token_pairs


def train(path, output_dir, resume=False, **changes):
    arguments = {
        "output_dir": str(output_dir), "learning_rate": 1e-3, "report_to": "none", "bf16": False, "use_cpu": True,
        "disable_tqdm": True, "logging_steps": 1, "max_steps": 6, "max_length": None,
        "per_device_train_batch_size": 4, "save_strategy": "no",
    }  # fmt: skip
    trainer = JointSFTDPOTrainer(
        AutoModelForCausalLM.from_pretrained(path), args=JointSFTDPOConfig(**{**arguments, **changes}),
        train_dataset=token_pairs(4, 4), processing_class=tiny_tokenizer(),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return trainer, [log["loss"] for log in trainer.state.log_history if "loss" in log]


@pytest.mark.parametrize("changes", [{}, {"bf16": True}, {"gradient_accumulation_steps": 2}])
def test_every_parameter_moves_and_the_loss_falls(tmp_path, changes):
    path = save_tiny(tmp_path / "model")
    before = AutoModelForCausalLM.from_pretrained(path)
    trainer, losses = train(path, tmp_path / "run", learning_rate=1e-2, **changes)
    assert trainer.is_packing
    assert losses[-1] < losses[0]
    for (name, old), new in zip(before.named_parameters(), trainer.model.parameters(), strict=True):
        assert not torch.equal(old, new), name


def test_a_run_resumes_with_the_same_losses(tmp_path):
    path = save_tiny(tmp_path / "model")
    _, whole = train(path, tmp_path / "whole")
    train(path, tmp_path / "parts", save_strategy="steps", save_steps=3)
    _, resumed = train(path, tmp_path / "parts", resume=str(tmp_path / "parts" / "checkpoint-3"))
    assert len(whole) == 6
    assert resumed[-3:] == pytest.approx(whole[-3:], rel=1e-6)


def launch(path, directory, num_processes, runs):
    """Runs of one launch, one after the other: starting processes takes longer than they do."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "DS_ACCELERATOR": "cpu"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"]
    launcher = launcher if num_processes > 1 else []
    command = [sys.executable, *launcher, "-m", "tests.train_worker", path, str(directory), json.dumps(runs)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    of_first = "\n".join(line for line in result.stderr.splitlines() if line.startswith("[rank0]"))
    assert result.returncode == 0, of_first[-3000:]
    return {name: json.loads((directory / f"{name}.json").read_text()) for name in runs}


ZERO = {
    "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    "zero_allow_untested_optimizer": True, "bf16": {"enabled": "auto"},
    "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}  # fmt: skip


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Results of runs in one process and in two, by name."""
    directory = tmp_path_factory.mktemp("launched")
    path = save_tiny(directory / "model")
    # Eight batches, six of 4 pairs and two of 3: six steps are an epoch and a half.
    settings = {"per_device_train_batch_size": 4, "max_steps": 6}
    saving = {**settings, "save_strategy": "steps", "save_steps": 5}
    mixed = {"per_device_train_batch_size": 4, "max_steps": 3, "bf16": True, "gradient_checkpointing": False}
    wrap = {"fsdp_version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}
    fsdp = {"fsdp": "full_shard auto_wrap", "fsdp_config": wrap}
    sharded = {**mixed, **fsdp}
    plain = {**settings, "max_steps": 2, "gradient_checkpointing": False}
    zero = {**plain, "deepspeed": ZERO}
    adam = {"optim": "adamw_torch", "max_steps": 3, "save": True}
    one = launch(path, directory, 1, {"one": {"gradient_accumulation_steps": 2, **settings}})
    two = launch(
        path, directory, 2,
        {
            "two": settings,
            "parts": {**saving, "max_steps": 5},
            "resumed": {**saving, "resume": "parts/checkpoint-5"},
            "mixed": {**mixed, "save": True},
            "sharded": {**sharded, "watch": True, "save": True},
            # torch cannot load the state of an optimizer that has none.
            "saved": {**sharded, "optim": "adamw_torch", "save_strategy": "steps", "save_steps": 2, "save": True},
            "again": {**sharded, "optim": "adamw_torch", "resume": "saved/checkpoint-2", "save": True},
            "precomputed": {**plain, "precompute_ref_log_probs": True},
            "fsdp precomputed": {**plain, **fsdp, "precompute_ref_log_probs": True},
            "adapters": {**plain, "adapters": True},
            "fsdp adapters": {**plain, **fsdp, "adapters": True},
            # transformers remembers DeepSpeed's configuration: these come last.
            "zero": {**zero, "watch": True, "save": True},
            "zero mixed": {**zero, **mixed},
            "zero precomputed": {**zero, "precompute_ref_log_probs": True},
            "zero adapters": {**zero, "adapters": True},
            "zero saved": {**zero, **adam, "save_strategy": "steps", "save_steps": 2},
            "zero again": {**zero, **adam, "resume": "zero saved/checkpoint-2"},
        },
    )  # fmt: skip
    return {**one, **two, "directory": directory}


def test_two_processes_have_the_loss_of_one(launched):
    one, two = launched["one"], launched["two"]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)


def test_two_processes_resumed_within_the_second_epoch_see_the_batches_of_that_epoch(launched):
    assert launched["resumed"]["losses"][-1] == pytest.approx(launched["two"]["losses"][-1], rel=1e-5)


@pytest.mark.parametrize("name", ["two", "sharded", "zero", "zero precomputed"])
def test_the_loss_of_an_evaluation_does_not_depend_on_the_processes(launched, name):
    """15 pairs in batches of 8: one process has two batches, two have one each, of which the second is filled up."""
    expected = launched["one"]["eval_loss"]
    assert launched[name]["eval_loss"] == pytest.approx(expected, rel=1e-3 if name == "sharded" else 1e-6)


@pytest.mark.parametrize("name", ["precomputed", "fsdp precomputed", "zero", "zero precomputed"])
def test_a_reference_that_is_precomputed_and_shards_change_no_loss(launched, name):
    assert launched[name]["processes"] == 2
    assert launched[name]["losses"] == pytest.approx(launched["two"]["losses"][:2], rel=1e-6)


@pytest.mark.parametrize("name", ["fsdp adapters", "zero adapters"])
def test_sharded_adapters_have_the_losses_of_plain_ones(launched, name):
    assert launched["adapters"]["losses"][-1] != pytest.approx(launched["two"]["losses"][1], rel=1e-6)
    assert launched[name]["losses"] == pytest.approx(launched["adapters"]["losses"], rel=1e-6)


def test_zero_in_bfloat16_has_the_losses_of_plain_processes(launched):
    assert launched["zero mixed"]["losses"] == pytest.approx(launched["mixed"]["losses"], rel=2e-3)


def test_fsdp_in_bfloat16_has_the_losses_of_plain_processes(launched):
    """Summed in bfloat16, log-probabilities of even these short chains are off by more than the bound."""
    assert launched["sharded"]["processes"] == 2
    assert launched["sharded"]["losses"] == pytest.approx(launched["mixed"]["losses"], rel=1.5e-3)


def test_a_sharded_model_answers_while_it_trains(launched):
    """With three problems for two processes, one of which generates once more for the other."""
    assert launched["sharded"]["watched"] == [0, 2, 3]
    assert launched["zero"]["watched"] == [0, 2]


def test_two_processes_that_are_killed_go_on_from_their_checkpoint(tmp_path, dataset, tiny_model_directory):
    """`accelerate launch` of a recipe as the README has it, on a published dataset: the joint objective."""
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "recipes/joint_sft_dpo.py",
        "--config", "starter", "--dataset", dataset, "--model_name_or_path", tiny_model_directory, "--output_dir",
        str(tmp_path / "joint"), "--max_steps", "120", "--save_strategy", "steps", "--save_steps", "2",
        "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "1", "--logging_steps", "1",
        "--num_watched", "1", "--watch_max_new_tokens", "2",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    output = (tmp_path / "output.txt").open("w")
    first = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + 240
    while not any((tmp_path / "joint").glob("checkpoint-*/trainer_state.json")):  # the last one is kept
        assert first.poll() is None, (tmp_path / "output.txt").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    saved = sorted(path.name for path in (tmp_path / "joint").glob("checkpoint-*"))
    assert "checkpoint-120" not in saved
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr[-3000:]
    history = json.loads((tmp_path / "joint" / "trainer_state.json").read_text())["log_history"]
    assert [log["step"] for log in history if "loss" in log] == list(range(1, 121))
    assert (tmp_path / "joint" / "model.safetensors").is_file()


def weights_of(launched, name):
    return AutoModelForCausalLM.from_pretrained(launched["directory"] / name).state_dict()


def test_a_sharded_run_resumes_and_saves_whole_weights(launched):
    start, plain, sharded, saved, again = (
        weights_of(launched, name) for name in ("model", "mixed/final", "sharded/final", "saved/final", "again/final")
    )
    assert launched["again"]["losses"][-1] == pytest.approx(launched["saved"]["losses"][-1], rel=1e-5)
    for name, weight in plain.items():
        moved = float((weight - start[name]).abs().max())
        assert float((sharded[name] - weight).abs().max()) < 0.1 * moved, name
        torch.testing.assert_close(again[name], saved[name], rtol=1e-4, atol=1e-4)


def test_zero_resumes_and_saves_whole_weights(launched):
    assert launched["zero again"]["losses"][-1] == pytest.approx(launched["zero saved"]["losses"][-1], rel=1e-6)
    saved, again = weights_of(launched, "zero saved/final"), weights_of(launched, "zero again/final")
    for name, weight in weights_of(launched, "zero/final").items():
        assert not torch.equal(weight, saved[name]), name  # of another optimizer
        torch.testing.assert_close(again[name], saved[name], rtol=1e-5, atol=1e-6)
