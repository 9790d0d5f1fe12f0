#!/usr/bin/env bash
# All checks that need a GPU, in one command: the kernel, model and step suites on CUDA, the own kernels under
# compute-sanitizer, a training run, and the speed against PyTorch, in alternating runs. The tests take a few minutes,
# the speed more, because PyTorch compiles.
#   tests/gpu_check.sh [tests|speed|all] [BUILD] [OUT]     defaults: all build/cuda build/gpu_check
# COSS_SHARED names the folder of real data (default ../shared); without it the training run draws its own images. The
# libraries are found as usual; those of PyTorch in `python3` are tried too. Writes OUT/*.json, OUT/*.log
# and OUT/summary.txt.
set -uo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
build=$(realpath "${2:-build/cuda}")
out=${3:-build/gpu_check}
mkdir -p "$out"
coss=$build/coss
export OMP_WAIT_POLICY=passive
site=$(python3 -c 'import site, sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null || true)
for folder in "$site"/nvidia/cudnn/lib "$site"/nvidia/cu13/lib "$site"/nvidia/cublas/lib; do
  if [ -d "$folder" ]; then export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:$folder"; fi
done

failed=0
summary() { echo "$*" | tee -a "$out/summary.txt"; }
# check NAME COMMAND…: runs it, keeps its output, says whether it passed
check() {
  local name=$1 begin=$SECONDS
  shift
  if "$@" >"$out/$name.log" 2>&1; then
    summary "pass  $name ($((SECONDS - begin)) s)"
  else
    summary "FAIL  $name ($((SECONDS - begin)) s), the end of $out/$name.log:"
    tail -n 25 "$out/$name.log" | tee -a "$out/summary.txt"
    failed=1
  fi
}

: >"$out/summary.txt"
"$coss" doctor | tee "$out/doctor.txt"
"$coss" doctor --json >"$out/doctor.json"
if ! grep -q '"cuda":{"usable":true' "$out/doctor.json"; then
  summary "no usable GPU: nothing was checked"
  exit 1
fi

if [ "$what" != speed ]; then
  check kernels "$build/tests/test_engine" --gtest_filter='*cuda*:Cudnn*' --gtest_brief=1
  check autograd "$build/tests/test_autograd" --gtest_brief=1
  check layers "$build/tests/test_layers" --gtest_brief=1
  check models "$build/tests/test_models" --gtest_brief=1
  check losses "$build/tests/test_losses" --gtest_brief=1
  check steps "$build/tests/test_tools" --gtest_filter='*Step*:*Record*:EveryMethod*' --gtest_brief=1
  own='*Norm*cuda*:*Pool*cuda*:*Optim*cuda*:*Loss*cuda*:*Augment*cuda*:*Elementwise*cuda*:*cuda_bf16_depthwise*'
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      check "$tool" timeout 150 compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "$build/tests/test_engine" --gtest_filter="$own" --gtest_brief=1
    done
  else
    summary "skip  compute-sanitizer: not installed"
  fi

  # The CIFAR-10 recipe as the CPU runs it: 2,000 steps, judged by kNN.
  shared=${COSS_SHARED:-../shared}
  run=$out/cifar
  rm -rf "$run"
  if [ -d "$shared/data/cifar-10-batches-bin" ]; then
    check train "$coss" train recipes/coss_resnet56_resnet20_cifar10.json --device cuda \
      data.path="$shared/data/cifar-10-batches-bin" \
      teacher.weights="$(find "$shared/checkpoints" -name 'resnet56*' | head -n 1)" \
      data.workers="$(nproc)" knn.every_epochs=0 --out "$run"
    check knn "$coss" eval knn --model resnet20_cifar --weights "$run/student.safetensors" --size 32 \
      --data "$shared/data/cifar-10-batches-bin" --device cuda --k 20
    summary "      $(tail -n 1 "$out/knn.log")"
  else
    summary "skip  training: $shared has no CIFAR-10 (set COSS_SHARED)"
  fi
fi

if [ "$what" != tests ]; then
  # pair NAME OPTIONS…: coss and PyTorch in turn
  pair() {
    local name=$1
    shift
    if python3 tools/bench/bench_pytorch.py --device cuda --coss "$coss" --rounds 3 --steps 20 --json "$@" \
      >"$out/$name.json" 2>"$out/$name.err"; then
      summary "$(python3 - "$name" "$out/$name.json" <<'PY'
import json, sys
name, path = sys.argv[1:]
r = json.load(open(path))
text = f"{name:32} coss {r['coss']['images_per_second']:9.0f}  PyTorch {r['pytorch']['images_per_second']:9.0f}  x {r['ratio']:.2f}"
if "peak_bytes" in r["coss"]:
    text += f"  memory x {r['coss']['peak_bytes'] / r['pytorch']['peak_bytes']:.2f}"
print(text)
PY
)"
    else
      summary "FAIL  $name: $(tail -n 1 "$out/$name.err")"
      failed=1
    fi
  }
  for batch in 256 1024; do
    pair "r50_r18_b$batch" --batch $batch --dtype bf16
    pair "r50_r18_b${batch}_compiled" --batch $batch --dtype bf16 --compile
  done
  pair r50_r18_fp16 --batch 1024 --dtype fp16
  pair r101_r18 --teacher resnet101 --batch 1024 --dtype bf16
  pair r101_r18_compiled --teacher resnet101 --batch 1024 --dtype bf16 --compile
  pair r56_r20 --teacher resnet56_cifar --student resnet20_cifar --size 32 --batch 256 --dtype bf16
  pair r56_r20_compiled --teacher resnet56_cifar --student resnet20_cifar --size 32 --batch 256 --dtype bf16 --compile
  images=${COSS_SHARED:-../shared}/data/imagenette
  if [ -d "$images" ]; then pair feeding --data "$images" --workers "$(nproc)" --batch 256; fi
  check losses_speed python3 tools/bench/bench_pytorch.py losses --device cuda --coss "$coss"
  cat "$out/losses_speed.log" >>"$out/summary.txt"
  "$coss" bench mining --rows 1281167 --width 2048 --k 384 --device cuda --json >"$out/mining.json" 2>"$out/mining.err" &&
    summary "mining $(cat "$out/mining.json")"
fi
exit $failed
