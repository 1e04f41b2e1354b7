"""Every command of the README and the guide is run, with small things in place of the large ones that it names.

`make test` is what continuous integration runs; what `make demo` runs is in `test_demo.py`.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import hf_treecot
from hf_treecot.cli.main import COMMANDS as COMMANDS_OF_TREECOT
from hf_treecot.engines.server_process import free_port
from hf_treecot.evaluation.lighteval_compat import INSTALL
from hf_treecot.hub.dataset import load_trees
from hf_treecot.selection.judgements import Judgement, JudgementLog
from hf_treecot.testing import chat, tgi
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve

from .serving_world import CountingBackend, served


PACKAGE = Path(hf_treecot.__file__).parent
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((PACKAGE / "cli/configs").rglob("*.md"))]
LINES = list(
    dict.fromkeys(
        re.split(r"\s{2,}#", line)[0].strip()
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    )
)
LAUNCHED = r"(?:accelerate launch (?:--config_file \S+ )?recipes/(\w+)\.py|(?:hf )?treecot (\w+)) ?(.*)"
MATCHES = {line: match for line in LINES if (match := re.match(LAUNCHED, line))}
# What shows a window, takes all of the machine, or prints what another test reads.
ELSEWHERE = ("serve", "space", "demo", "ablation", "evolve", "starter")
# What asks for GPUs and the Hub's data: that all packaged configurations are read is another test's.
ON_SERVERS = (
    "treecot build --config build/qwen2.5-7b-vllm", "treecot build --config build/paper-72b-70b-tgi",
    "treecot build --serve ",
)  # fmt: skip
COMMANDS = [line for line, match in MATCHES.items() if match[2] not in ELSEWHERE and not line.startswith(ON_SERVERS)]
MODELS = ("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "my/adapter")
SHORT_SEARCH = (
    "--num_problems 2 --num_simulations 2 --min_right 1 --max_right 1 --max_depth 4 --max_new_tokens 16 "
    "--give_up_factor 1"
)
SHORT_TRAINING = (
    "--use_cpu true --bf16 false --tf32 false --max_steps 1 --output_dir out --dataset runs/demo/dataset "
    "--model_name_or_path models/tiny --num_watched 1 --watch_max_new_tokens 4 --gradient_accumulation_steps 1 "
    "--per_device_train_batch_size 2"
)
SHORTER = {
    "build": f"{SHORT_SEARCH} --output_dir runs/built",  # runs/demo is another's
    "scale": f"{SHORT_SEARCH} --num_tasks 2 --num_workers 1 --output_dir runs/scale --model models/tiny",
    "import": "--output_dir runs/imported",  # runs/traces is another's
    "regrow": "--num_trees 1 --max_new_tokens 4",
    "evaluate": "--num_problems 1 --max_new_tokens 8 --k 2 --data data",
    "sft": SHORT_TRAINING,
    "cdpo": SHORT_TRAINING,
    "joint": SHORT_TRAINING,
    "redi": SHORT_TRAINING,
    "advantage": SHORT_TRAINING,
    "value": SHORT_TRAINING.replace("--num_watched 1 --watch_max_new_tokens 4 ", ""),
}
LEFT = {  # what a recipe leaves in its directory
    "build": "dataset/trees/*.parquet",
    "scale": "dataset/trees/*.parquet",
    "select": "dataset/sft/*.parquet",
    "evaluate": "table.md",
    "sft": "model.safetensors",
    "cdpo": "model.safetensors",
    "joint": "model.safetensors",
    "redi": "model.safetensors",
    "advantage": "model.safetensors",
    "value": "model.safetensors",
}
ROWS = {  # of the benchmarks' datasets
    "gsm8k": {"question": "What is 6 times 7?", "answer": "It is 42.\n#### 42"},
    "math_500": {"problem": "What is 6 times 7?", "answer": "42", "unique_id": "a"},
    "ifeval": {"key": 1, "prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
}


@pytest.fixture
def place(tmp_path, monkeypatch, dataset, tiny_model_directory):
    """A directory with all that the README takes for granted; models are tiny."""
    for name in ("recipes", "spaces"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "programs").mkdir()
    for name in ("demo", "all", "traces", "served"):
        shutil.copytree(Path(dataset).parent, tmp_path / "runs" / name)
    JudgementLog(tmp_path / "runs" / "judgements").add(Judgement("0" * 16, "reject", "me"))
    results = {"results": {"treecot:letters|0": {"accuracy": 0.5}}}
    (tmp_path / "runs" / "demo" / "evaluation" / "results").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "evaluation" / "results" / "results_1.json").write_text(json.dumps(results))
    shutil.copytree(tiny_model_directory, tmp_path / "models" / "tiny")
    for name in ("sft", "joint_sft_dpo"):
        shutil.copytree(tiny_model_directory, tmp_path / "runs" / "demo" / name)
    row = {"prompt": "What is 6 times 7?", "answer": "42", "verifier": "math", "completion": "\\boxed{41}"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    rows = ('{"question": "What is 6 times 7?", "final": "42"}', '{"question": "What is 6 times 8?", "final": "48"}')
    (tmp_path / "my_problems.jsonl").write_text("\n".join(rows))
    (yaml,) = re.findall(r"```yaml\n(# mine.yaml.*?)```", README, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(small(yaml))
    for name, row in ROWS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for split in ("train", "test"):
            (tmp_path / "data" / name / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(text):
    """With the tiny model in place of those of the Hub, and of the built-in ones."""
    for name in MODELS:
        text = text.replace(name, "models/tiny")
    text = re.sub(r"(?<=--budgets )[\d ]+", "4 8", text)
    return re.sub(r"(?<=--models )(starter|hasty)\b", "models/tiny", text)


def command_of(line):
    """The command of a line, and its arguments."""
    recipe, command, rest = MATCHES[line].groups()
    if recipe:
        text = (ROOT / "recipes" / f"{recipe}.py").read_text()
        (command,) = re.findall(r"from hf_treecot\.cli\.(\w+) import main", text)
    return command, rest


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. auto(?:class|function|exception|data):: hf_treecot\.(\w+)$", text, re.MULTILINE)
    assert sorted(names) == hf_treecot.__all__


def test_the_pages_are_built_without_a_warning(tmp_path):
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(ROOT / "docs"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "search" in (tmp_path / "reference.html").read_text(encoding="utf-8")


def test_the_page_about_serving_works_by_copy_and_paste(tmp_path):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    first, code = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("bash", "python"))
    port = str(free_port())
    treecot = f"{sys.executable} -m hf_treecot.cli.main"
    script = f"set -e\n{first}\n{sys.executable} - <<'END'\n{code}\nEND\nkill %1\nwait"
    script = script.replace("treecot serve", f"{treecot} serve --port {port}").replace("8000", port)
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    answers = re.findall(r"starter(?::\w+)? [^\n]*\\boxed\{(\d+)\} \d+ \[\{", result.stdout)
    assert len(answers) == 3, result.stderr[-2000:]
    assert answers[1:] == ["8", "8"]
    assert len(list(load_trees(tmp_path / "runs" / "served"))) == 1  # the same question and seed, three times


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.replace("/", "-")[:70])
def test_a_command(line, run, place, hub, monkeypatch):
    name, rest = command_of(line)
    assert name in COMMANDS_OF_TREECOT
    if name == "evaluate":
        pytest.importorskip("lighteval")
    if name == "select" and "runs/all" in rest:
        shutil.rmtree(place / "runs" / "all")
    if "ray" in rest.split():
        pytest.importorskip("ray")
    slurm = "slurm" in rest.split()
    if slurm:
        for program in ("sbatch", "srun", "scontrol"):
            (place / "programs" / program).symlink_to(ROOT / "tests" / "mock_slurm.py")
        paths = (str(place / "programs"), str(Path(sys.executable).parent), os.environ["PATH"])
        monkeypatch.setenv("PATH", os.pathsep.join(paths))  # as in an activated environment
        monkeypatch.setenv("MOCK_SLURM_JOBS", str(place / "programs"))
    backend = ScriptedBackend()
    backend.tokenizer.save_pretrained(place / "models" / "tokenizer")
    with (
        serve(tgi.make_app(backend)) as url,
        serve(chat.make_app(backend)) as chat_url,
        served(CountingBackend()) as (endpoint, _),
    ):
        rest = re.sub(r"(--tokenizer |:80[80]0#)starter\b", r"\1models/tokenizer", rest)
        rest = rest.replace("http://localhost:8080", url).replace("http://localhost:8090", chat_url)
        rest = rest.replace("http://127.0.0.1:8000", endpoint)
        by_default = "" if "--servers" in rest or name not in ("build", "scale") else "--model models/tiny"
        args = shlex.split(f"{small(rest)} {'' if '--help' in rest else SHORTER.get(name, '')} {by_default}")
        if slurm:
            monkeypatch.setenv("MOCK_SLURM_HELD", "1")  # submitted and not run: that is tested with sharding
        if name == "scale":  # it starts processes
            command = [sys.executable, "-m", "hf_treecot.cli.main", name, *args]
            result = subprocess.run(command, capture_output=True, text=True)
        else:
            result = run(name, *args)
    assert result.returncode == 0, result.stderr
    if "--help" in args:
        assert result.stdout.startswith(f"usage: treecot {name}")
    elif slurm:
        submitted = (place / "programs" / "1.sh").read_text()
        assert "#SBATCH --array=0-1" in submitted
    elif name == "publish":
        assert hub.repositories
    elif name in LEFT and not {"--dry-run", "--dry_run"} & set(args):
        output = args[len(args) - 1 - args[::-1].index("--output_dir") + 1] if "--output_dir" in args else "runs"
        assert list((place / output).rglob(LEFT[name]))
    else:
        assert result.stdout


def test_all_other_commands_are_known():
    """What is not a recipe is one of these; each is run by a test, here or elsewhere, or by continuous integration."""
    known = (
        "make ", "pip install", "git clone", "cd ", "python -m hf_treecot.evaluation.lighteval_compat", "hf auth",
        "lighteval accelerate", "inspect eval hf_treecot/", "vllm serve", "docker run", "text-generation-launcher",
        "python -m hf_treecot.testing.", "curl --silent", "kill %1", *(f"treecot {name}" for name in ELSEWHERE),
        *ON_SERVERS,
    )  # fmt: skip
    others = [line for line in LINES if line not in COMMANDS]
    assert [line for line in others if not line.startswith(known)] == []
    assert INSTALL in others
    assert INSTALL.rpartition("python ")[2] in (ROOT / "Makefile").read_text()


@pytest.mark.skipif(not entry_points(group="inspect_ai"), reason="the package was installed without Inspect's tasks")
def test_the_command_of_inspect(place):
    line = next(line for line in LINES if line.startswith("inspect eval hf_treecot/letters --model treecot/starter"))
    line = line.replace("starter", "models/tiny").replace("--limit 20", "--limit 2 --max-tokens 8 --display plain")
    command = [str(Path(sys.executable).parent / "inspect"), *shlex.split(line)[1:]]
    result = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert result.returncode == 0, result.stderr[-2000:]
    assert re.search(r"no_answer_rate +\d", result.stdout)


@pytest.mark.skipif(not importlib.util.find_spec("lighteval"), reason="lighteval is not installed")
def test_the_command_of_lighteval(place):
    line = next(line for line in LINES if line.startswith("lighteval accelerate"))
    line = line.replace("Qwen/Qwen2.5-0.5B-Instruct", "models/tiny").replace("gsm8k", "letters")
    command = [str(Path(sys.executable).parent / "lighteval"), *shlex.split(line)[1:], "--max-samples", "2"]
    result = subprocess.run(
        [*command, "--output-dir", "results"], capture_output=True, text=True, cwd=place,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    (path,) = (place / "results").rglob("results_*.json")
    assert "no_answer_rate" in json.loads(path.read_text())["results"]["treecot:letters|0"]
