# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""Supervised fine-tuning on the longest right chains of trees (paper, section 4.1), with TRL's SFTTrainer.

`--mask_thoughts 0.2` hides that share of their tokens from the model while it learns (Chen et al., 2024).

    accelerate launch recipes/sft.py --config recipes/config/sft/starter.yaml --dataset runs/demo/dataset
    accelerate launch recipes/sft.py --config recipes/config/sft/qwen2.5-1.5b.yaml --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from trl import ModelConfig, get_peft_config

from hf_treecot import recipe
from hf_treecot.trainers import MaskedThoughtConfig, MaskedThoughtTrainer
from hf_treecot.trainers.script import ScriptArguments, claim_output, load_rows, set_up_model, train, watched_problems
from hf_treecot.trainers.sft_data import check_completions


def main(script: ScriptArguments, training: MaskedThoughtConfig, model: ModelConfig) -> None:
    """Train on the `sft` configuration."""
    problems = watched_problems(script)
    rows = load_rows(script, "sft")
    name = set_up_model(model, training)
    claim_output(training, name, rows)
    trainer = MaskedThoughtTrainer(name, args=training, train_dataset=rows, peft_config=get_peft_config(model))
    check_completions(rows, trainer.processing_class, training.max_length)
    train(trainer, script, problems)


if __name__ == "__main__":
    arguments = recipe.parse((ScriptArguments, MaskedThoughtConfig, ModelConfig), __doc__)
    recipe.run(lambda: main(*arguments), resume="Run the same command again to go on from the last checkpoint.")
