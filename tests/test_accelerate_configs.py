import pytest
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from hf_treecot.cli.packaged import CONFIGS


DIRECTORY = CONFIGS / "accelerate"


def launch_arguments(name, processes=8):
    """What `accelerate launch` makes of a file."""
    path = str(DIRECTORY / name)
    load_config_from_file(path)  # refuses keys that it does not know
    parser = launch_command_parser()
    arguments, *_ = _validate_launch_command(parser.parse_args(["--config_file", path, "--debug", "recipes/sft.py"]))
    assert arguments.num_processes == processes
    assert arguments.mixed_precision == "bf16"
    return arguments


def test_every_config_is_tested():
    assert {path.name for path in DIRECTORY.glob("*.yaml")} == {"fsdp.yaml", "fsdp-multinode.yaml", "zero3.yaml"}


@pytest.mark.parametrize(
    ("name", "machines", "state"),
    [("fsdp.yaml", 1, "FULL_STATE_DICT"), ("fsdp-multinode.yaml", 4, "SHARDED_STATE_DICT")],
)
def test_fsdp(monkeypatch, name, machines, state):
    arguments = launch_arguments(name, processes=8 * machines)
    assert arguments.num_machines == machines
    assert arguments.use_fsdp
    for name, value in prepare_multi_gpu_env(arguments).items():
        monkeypatch.setenv(name, str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == state
    assert plugin.activation_checkpointing is False


def test_zero3():
    arguments = launch_arguments("zero3.yaml")
    assert arguments.use_deepspeed
    config = load_config_from_file(str(DIRECTORY / "zero3.yaml"))
    arguments.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)  # as the command does
    _, environment = prepare_deepspeed_cmd_env(arguments)
    assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "true"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


@pytest.mark.parametrize("name", ["fsdp.yaml", "fsdp-multinode.yaml", "zero3.yaml"])
def test_unknown_keys_would_be_refused(name, tmp_path):
    path = tmp_path / name
    path.write_text((DIRECTORY / name).read_text() + "num_procesess: 4\n")
    with pytest.raises(ValueError, match="num_procesess"):
        load_config_from_file(str(path))
