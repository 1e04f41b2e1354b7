"""The paper's joint objective: conservative DPO plus SFT on the chosen answers."""

from .cdpo_trainer import CDPOTrainer
from .joint_sft_dpo_config import JointSFTDPOConfig


class JointSFTDPOTrainer(CDPOTrainer):
    """
    L = L_cDPO + α · L_SFT (paper, section 4.3): SFT keeps the chosen answers likely while DPO tells them apart.

    Takes what [`CDPOTrainer`] takes, with a [`JointSFTDPOConfig`].
    """

    config_class = JointSFTDPOConfig

    tags = ["trl", "dpo", "cdpo", "joint-sft-dpo", "tree-cot"]
    method = "joint SFT and conservative DPO on trees of thoughts"

    def __init__(self, model, ref_model=None, args: JointSFTDPOConfig | None = None, *others, **kwargs):
        super().__init__(model, ref_model, args, *others, **kwargs)
        self.alpha, self.mask_sft_prefix = self.args.alpha, self.args.mask_sft_prefix
