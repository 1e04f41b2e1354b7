"""SFT with masked thoughts: which tokens may be hidden, and runs that are whole, resumed, packed and evaluated."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from hf_treecot.errors import InvalidInputError
from hf_treecot.trainers import MaskedThoughtConfig, MaskedThoughtTrainer
from hf_treecot.trainers.masked_thought import mask_tokens

from .tiny_models import save_tiny, tiny_tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


def chats(count=8):
    """Conversations of unequal length; what is thought stands between tags that are tokens of their own."""
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"how many is {i}?"}],
                "completion": [{"role": "assistant", "content": f"<thinking>{'so ' * (i % 4 + 3)}{i}</thinking>"}],
            }
            for i in range(count)
        ]
    )


def settings(output_dir, **changes):
    defaults = {
        "output_dir": str(output_dir), "per_device_train_batch_size": 2, "learning_rate": 1e-2, "max_steps": 6,
        "report_to": "none", "bf16": False, "use_cpu": True, "disable_tqdm": True, "logging_steps": 1,
        "save_strategy": "no", "gradient_checkpointing": False,
    }  # fmt: skip
    return {**defaults, **changes}


def make(path, output_dir, data=None, tokenizer=None, **changes):
    return MaskedThoughtTrainer(
        AutoModelForCausalLM.from_pretrained(path), args=MaskedThoughtConfig(**settings(output_dir, **changes)),
        train_dataset=chats() if data is None else data, processing_class=tokenizer or tiny_tokenizer(),
    )  # fmt: skip


def watch(trainer):
    """What the model is given: a list that grows by `(input_ids, labels)` with every forward."""
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append((inputs["input_ids"].clone(), inputs["labels"].clone())), with_kwargs=True
    )
    return seen


def losses(trainer):
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def test_tokens_that_are_learnt_and_not_kept_are_masked_at_the_given_rate():
    torch.manual_seed(0)
    ids = torch.randint(10, 20, (50, 400))
    labels = ids.clone()
    labels[:, :100] = -100
    before = ids.clone(), labels.clone()
    masked = mask_tokens(ids, labels, 0.2, 3, torch.tensor([11, 12]))
    assert torch.equal(ids, before[0])
    assert torch.equal(labels, before[1])
    may = (labels != -100) & (ids != 11) & (ids != 12)
    hidden = masked == 3
    assert torch.equal(masked[~hidden], ids[~hidden])
    assert not hidden[~may].any()
    assert hidden[may].float().mean().item() == pytest.approx(0.2, abs=0.02)  # of about 12,000


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"packing": True, "packing_strategy": "wrapped", "max_length": 64},
        {"padding_free": True, "max_length": None},
    ],
)
def test_only_thoughts_are_masked(path, tmp_path, changes):
    tokenizer = tiny_tokenizer()
    trainer = make(path, tmp_path, mask_thoughts=0.5, **changes)
    seen = watch(trainer)
    trainer.train()
    kept = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids(["<thinking>", "</thinking>"])}
    learnt = 0
    for ids, labels in seen:
        differs = (labels != -100) & (ids != labels)
        assert (ids[differs] == tokenizer.pad_token_id).all()
        assert not kept & set(labels[differs].tolist())
        assert "how many is" in tokenizer.decode(ids[labels == -100], skip_special_tokens=True)
        may = (labels != -100) & ~torch.isin(labels, torch.tensor(sorted(kept)))
        learnt += differs.sum().item() / may.sum().item() / len(seen)
    assert learnt == pytest.approx(0.5, abs=0.15)
    assert losses(trainer)[-1] < losses(trainer)[0]


def test_an_evaluation_is_not_masked(path, tmp_path):
    trainer, plain = (make(path, tmp_path, mask_thoughts=share) for share in (0.9, 0.0))
    seen = watch(trainer)
    data = chats(4)
    assert trainer.evaluate(data)["eval_loss"] == plain.evaluate(data)["eval_loss"]
    assert seen
    for ids, labels in seen:
        assert torch.equal(ids[labels != -100], labels[labels != -100])


def test_without_masks_it_is_trls_sft_to_the_bit(path, tmp_path):
    trainer = make(path, tmp_path, tree_packing="off")
    plain = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(path), args=SFTConfig(**settings(tmp_path)), train_dataset=chats(),
        processing_class=tiny_tokenizer(),
    )  # fmt: skip
    for each in (trainer, plain):
        each.train()
    assert len(losses(trainer)) == 6
    assert losses(trainer) == losses(plain)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_draws_the_masks_of_an_uninterrupted_one(path, tmp_path, workers):
    seen, runs = [], []
    for checkpoint in (None, str(tmp_path / "checkpoint-3")):
        runs.append(
            make(
                path, tmp_path, mask_thoughts=0.5, dataloader_num_workers=workers, save_strategy="steps", save_steps=3
            )
        )
        seen.append(watch(runs[-1]))
        runs[-1].train(resume_from_checkpoint=checkpoint)
    assert [len(forwards) for forwards in seen] == [6, 3]
    for (ids, _), (others, _) in zip(seen[0][3:], seen[1], strict=True):
        assert torch.equal(ids, others)
    assert losses(runs[1])[-3:] == pytest.approx(losses(runs[0])[-3:], rel=1e-6)


def test_the_mask_is_the_mask_token_of_a_tokenizer_that_has_one(path, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.mask_token = "!"
    trainer = make(path, tmp_path, tokenizer=tokenizer, mask_thoughts=0.9, max_steps=1)
    seen = watch(trainer)
    trainer.train()
    ((ids, labels),) = seen
    differs = (labels != -100) & (ids != labels)
    assert differs.any()
    assert (ids[differs] == tokenizer.mask_token_id).all()


def test_the_card_cites_the_source_if_thoughts_are_masked(path, tmp_path):
    for share, is_cited in ((0.2, True), (0.0, False)):
        trainer = make(path, tmp_path, mask_thoughts=share)
        trainer.create_model_card("mine")
        card = (tmp_path / "README.md").read_text()
        assert ("2403.02178" in card) is ("masked-thought" in card) is ("probability 0.2" in card) is is_cited


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_shares_out_of_range_are_refused(tmp_path, share):
    with pytest.raises(InvalidInputError, match=f"mask_thoughts={share} is out of range"):
        MaskedThoughtConfig(**settings(tmp_path, mask_thoughts=share))


def test_what_cannot_be_masked_is_refused(path, tmp_path):
    with pytest.raises(InvalidInputError, match=r"mask_thoughts=0.2 would mask questions, too"):
        make(path, tmp_path, mask_thoughts=0.2, completion_only_loss=False)
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(InvalidInputError, match=r"mask_thoughts=0.2 needs a mask, .* set eos_token"):
        make(path, tmp_path, tokenizer=tokenizer, mask_thoughts=0.2)
    with pytest.raises(
        InvalidInputError, match="args is a SFTConfig: MaskedThoughtTrainer needs a MaskedThoughtConfig"
    ):
        MaskedThoughtTrainer(path, args=SFTConfig(**settings(tmp_path)), train_dataset=chats())


def test_half_weights_are_refused_without_masking_too(path, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    with pytest.raises(InvalidInputError, match="bfloat16.*dtype=float32"):
        MaskedThoughtTrainer(
            model, args=MaskedThoughtConfig(**settings(tmp_path)), train_dataset=chats(),
            processing_class=tiny_tokenizer(),
        )  # fmt: skip
