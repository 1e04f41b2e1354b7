#!/usr/bin/env bash
# The whole pipeline, as short as it gets: train the starter model (once, about four minutes on two cores), let it grow
# trees on problems that it has never seen, select rows, and draw a tree. `make demo` calls this. Every stage resumes:
# run it again after any interruption.
set -euo pipefail
cd "$(dirname "$0")/.."

run=${1:-runs/demo}

echo "1/3  The starter model"
python recipes/train_starter.py

echo "2/3  Trees, SFT rows and preference rows"
python recipes/build_trees.py --config recipes/config/demo.yaml --output_dir "$run"

echo "3/3  A picture of a tree"
python recipes/draw_tree.py --run "$run"

cat <<END

The dataset:      $run/dataset
Look at a pair:   python -c "from datasets import load_dataset; print(load_dataset('$run/dataset', 'preference')['train'][0])"
Next, your own:   python recipes/build_trees.py --help
END
