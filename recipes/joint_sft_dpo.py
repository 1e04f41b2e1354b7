# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""The paper's joint objective, conservative DPO plus SFT, on pairs of right and wrong chains (section 4.3).

    accelerate launch recipes/joint_sft_dpo.py --config recipes/config/joint_sft_dpo/starter.yaml
    accelerate launch recipes/joint_sft_dpo.py --config recipes/config/joint_sft_dpo/qwen2.5-1.5b.yaml --dataset a/b

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from trl import ModelConfig, get_peft_config

from hf_treecot import recipe
from hf_treecot.trainers import JointSFTDPOConfig, JointSFTDPOTrainer
from hf_treecot.trainers.script import ScriptArguments, claim_output, load_rows, set_up_model, train, watched_problems


def main(script: ScriptArguments, training: JointSFTDPOConfig, model: ModelConfig) -> None:
    """Train on the `preference` configuration."""
    problems = watched_problems(script)
    rows = load_rows(script, "preference")
    name = set_up_model(model, training)
    claim_output(training, name, rows)
    trainer = JointSFTDPOTrainer(name, args=training, train_dataset=rows, peft_config=get_peft_config(model))
    train(trainer, script, problems)


if __name__ == "__main__":
    arguments = recipe.parse((ScriptArguments, JointSFTDPOConfig, ModelConfig), __doc__)
    recipe.run(lambda: main(*arguments), resume="Run the same command again to go on from the last checkpoint.")
