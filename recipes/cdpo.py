# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""Conservative DPO on pairs of right and wrong chains (paper, section 4.2).

`--loss_type redi` trains with REDI (Xu et al., 2025) instead, which needs no reference.

    accelerate launch recipes/cdpo.py --config recipes/config/cdpo/starter.yaml --dataset runs/demo/dataset
    accelerate launch recipes/cdpo.py --config recipes/config/cdpo/qwen2.5-1.5b.yaml --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from trl import ModelConfig, get_peft_config

from hf_treecot import recipe
from hf_treecot.trainers import CDPOConfig, CDPOTrainer
from hf_treecot.trainers.script import ScriptArguments, claim_output, load_rows, set_up_model, train, watched_problems


def main(script: ScriptArguments, training: CDPOConfig, model: ModelConfig) -> None:
    """Train on the `preference` configuration."""
    problems = watched_problems(script)
    rows = load_rows(script, "preference")
    name = set_up_model(model, training)
    claim_output(training, name, rows)
    trainer = CDPOTrainer(name, args=training, train_dataset=rows, peft_config=get_peft_config(model))
    train(trainer, script, problems)


if __name__ == "__main__":
    arguments = recipe.parse((ScriptArguments, CDPOConfig, ModelConfig), __doc__)
    recipe.run(lambda: main(*arguments), resume="Run the same command again to go on from the last checkpoint.")
