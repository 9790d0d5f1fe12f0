#!/usr/bin/env bash
# The table of methods on CIFAR-10 in docs/benchmarks.md: ResNet-56 into ResNet-20 without labels, each for 256,000
# images with its recipe's settings. The last 5,000 training images are set aside: OUT/data has the other 45,000 with the
# test images, OUT/validation the same with those 5,000 in place of the test images.
#   scripts/cifar_table.sh CIFAR_FOLDER TEACHER_FILE OUT [SEED] [ROW…]
# Rows that exist are not made again; an interrupted row continues. Writes OUT/table.tsv: row, seed, factor of the
# learning rate, kNN (k = 20) and linear accuracy in percent, seconds of training. SPLIT=validation STEPS=250 RATE=10
# tries ten times the learning rate and writes OUT/validation.tsv. On two cores, two processes with THREADS=1 are faster
# than one with two threads.
set -euo pipefail
cd "$(dirname "$0")/.."
coss=${COSS:-build/cpu/coss} threads=${THREADS:-0} split=${SPLIT:-test} steps=${STEPS:-1000} rate=${RATE:-1}
cifar=$(realpath "$1") teacher=$(realpath "$2") out=$3 seed=${4:-0}
wanted=("${@:5}")

record=3073 half=5000
mkdir -p "$out/data" "$out/validation"
for part in 1 2 3 4; do
  ln -sfn "$cifar/data_batch_$part.bin" "$out/data/data_batch_$part.bin"
  ln -sfn "$cifar/data_batch_$part.bin" "$out/validation/data_batch_$part.bin"
done
if [ ! -f "$out/validation/test_batch.bin" ]; then
  head -c $((record * half)) "$cifar/data_batch_5.bin" |
    tee "$out/data/data_batch_5.bin" >"$out/validation/data_batch_5.bin"
  tail -c $((record * half)) "$cifar/data_batch_5.bin" >"$out/validation/test_batch.bin"
fi
ln -sfn "$cifar/test_batch.bin" "$out/data/test_batch.bin"
cp "$cifar/batches.meta.txt" "$out/data/" 2>/dev/null || true
if [ "$split" = test ]; then data=$out/data table=$out/table.tsv; else data=$out/$split table=$out/$split.tsv; fi

# value JSON PATH…: a number of the program's --json line
value() { python3 -c 'import json, sys; v = json.loads(sys.argv[1])
for key in sys.argv[2:]: v = v[key]
print(v)' "$@"; }

row() {  # name, recipe, overrides…
  local name=$1 recipe=recipes/$2.json run=$out/${split}_$1_${seed}_x$rate
  shift 2
  if [ ${#wanted[@]} -gt 0 ] && [[ " ${wanted[*]} " != *" $name "* ]]; then return; fi
  if grep -q "^$name	$seed	$rate	" "$table" 2>/dev/null; then return; fi
  local from=() learning_rate
  learning_rate=$(grep -o '"learning_rate": [0-9.]*' "$recipe" | awk -v rate="$rate" '{print $2 * rate}')
  if ! grep -q '"simclr"' "$recipe"; then from=(teacher.weights="$teacher"); fi
  local begin=$SECONDS
  "$coss" train "$recipe" data.path="$data" "${from[@]}" seed="$seed" train.max_steps="$steps" knn.every_steps=0 \
    schedule.learning_rate="$learning_rate" dtype=bf16 threads="$threads" "$@" --out "$run" --resume
  local took=$((SECONDS - begin)) eval=(--model resnet20_cifar --weights "$run/student.safetensors" --data "$data"
    --threads "$threads" --json)
  local knn linear
  knn=$(value "$("$coss" eval knn "${eval[@]}" --k 20)" knn 20)
  linear=-
  if [ "$split" = test ]; then linear=$(value "$("$coss" eval linear --solver lbfgs "${eval[@]}")" linear top1); fi
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$seed" "$rate" "$knn" "$linear" "$took" | tee -a "$table"
}

pair=resnet56_resnet20_cifar10
row coss coss_$pair
row coss_plain_batches coss_$pair neighbors.nearest=0
row coss_without_space coss_$pair method.column_weight=0
row coss_plain_without_space coss_$pair neighbors.nearest=0 method.column_weight=0
row simreg simreg_$pair
row seed seed_$pair
row compress_1q compress_1q_$pair
row compress_2q compress_2q_$pair
row smd smd_$pair
row dino dino_$pair
row disco disco_$pair
row bingo bingo_$pair
row kd_without_labels sld_$pair
row ega ega_$pair
row simclr simclr_resnet20_cifar10
