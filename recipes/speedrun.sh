#!/usr/bin/env bash
# The whole pipeline, as short as it gets: train the starter model (once, about four minutes on two cores), let it grow
# trees on problems that it has never seen, select rows, train on them, and see what that did. `make demo` calls this.
# Every stage resumes: run it again after any interruption.
set -euo pipefail
cd "$(dirname "$0")/.."

run=${1:-runs/demo}

echo "1/6  The starter model"
python recipes/train_starter.py

echo "2/6  Trees, SFT rows and preference rows"
python recipes/build_trees.py --config recipes/config/demo.yaml --output_dir "$run"

echo "3/6  A picture of a tree"
python recipes/draw_tree.py --run "$run"

echo "4/6  SFT on the longest right chains"
python recipes/sft.py --config recipes/config/sft/starter.yaml \
  --dataset "$run/dataset" --output_dir "$run/sft"

echo "5/6  Conservative DPO + SFT on the pairs"
python recipes/joint_sft_dpo.py --config recipes/config/joint_sft_dpo/starter.yaml \
  --model_name_or_path "$run/sft" --dataset "$run/dataset" --output_dir "$run/joint_sft_dpo"

echo "6/6  Before and after, on held-out problems"
python recipes/evaluate.py --models starter "$run/sft" "$run/joint_sft_dpo" --num_problems 50 \
  --output_dir "$run/evaluation" --output "$run/evaluation.json"

cat <<END

The dataset:      $run/dataset
The models:       $run/sft, $run/joint_sft_dpo
Look at a pair:   python -c "from datasets import load_dataset; print(load_dataset('$run/dataset', 'preference')['train'][0])"
Next, your own:   python recipes/build_trees.py --help
END
