#!/usr/bin/env bash
# The whole pipeline, as short as it gets: train the starter model (once, about five minutes on two cores), let it grow
# trees on new problems, select rows, train on them, see what that did, and write a report. `make demo` calls this.
# Every stage resumes: run it again after any interruption.
#
#   recipes/speedrun.sh [--quick] [RUN]      # RUN is runs/demo, or runs/quick with --quick
#
# --quick trains the starter model for a quarter of its steps and takes fewer problems: it shows that everything works,
# not what it is worth.
set -euo pipefail

starter=() problems=40 held_out=50 default=runs/demo run=
for argument in "$@"; do
  case "$argument" in
    --quick) starter=(--num_steps 1600 --num_drill_steps 500 --output_dir runs/quick-starter)
             problems=12 held_out=12 default=runs/quick ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
    -*) echo "error: $argument is no option of speedrun.sh: there is only --quick" >&2; exit 2 ;;
    *) [ -z "$run" ] || { echo "error: there is one RUN, not both $run and $argument" >&2; exit 2; }
       case "$argument" in /*) run=$argument ;; *) run=$PWD/$argument ;; esac ;;
  esac
done
cd "$(dirname "$0")/.."
run=${run:-$default}

echo "1/7  The starter model"
model=starter
made=$(python recipes/train_starter.py ${starter[@]+"${starter[@]}"} | tee /dev/stderr | tail -n 1)
[ "${#starter[@]}" = 0 ] || model=${made#The starter model is in }

echo "2/7  Trees, SFT rows and preference rows"
python recipes/build_trees.py --config recipes/config/demo.yaml --model "$model" --num_problems "$problems" \
  --output_dir "$run"

echo "3/7  A picture of a tree"
python recipes/draw_tree.py --run "$run"

echo "4/7  SFT on the longest right chains"
python recipes/sft.py --config recipes/config/sft/starter.yaml --model_name_or_path "$model" \
  --dataset "$run/dataset" --output_dir "$run/sft"

echo "5/7  Conservative DPO + SFT on the pairs"
python recipes/joint_sft_dpo.py --config recipes/config/joint_sft_dpo/starter.yaml \
  --model_name_or_path "$run/sft" --dataset "$run/dataset" --output_dir "$run/joint_sft_dpo"

echo "6/7  Before and after, on other problems"
python recipes/evaluate.py --models "$model" "$run/sft" "$run/joint_sft_dpo" --tasks letters arithmetic \
  --problems blocks --num_problems "$held_out" --output_dir "$run/evaluation" --output "$run/evaluation.json"

echo "7/7  The report"
python recipes/report.py --run "$run"

cat <<END

The report:       $run/report.md
The dataset:      $run/dataset
The models:       $run/sft, $run/joint_sft_dpo
The Space on it:  make space SPACE="--source '$run' --models '$model' '$run/sft' '$run/joint_sft_dpo'"
Next, your own:   python recipes/build_trees.py --help
END
