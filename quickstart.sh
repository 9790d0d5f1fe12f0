#!/usr/bin/env bash
# The main job in a few minutes: trains a teacher, finds nearest neighbors with it, distills a student without labels,
# and measures both.
#   ./quickstart.sh          on images that the program draws
#   ./quickstart.sh FOLDER   on your images: FOLDER/train/<class>/* and FOLDER/val/<class>/*
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
images=${1:+$(realpath "$1")}
cd "$here"

echo "== what building needs"
scripts/install_dependencies.sh
echo "== build"
cmake --preset cpu >/dev/null
cmake --build --preset cpu --target coss
coss=build/cpu/coss

run=runs/quickstart
rm -rf "$run"
mkdir -p "$run"
if [ -z "$images" ]; then
  echo "== images"
  images=$run/images
  "$coss" draw --out "$images" --per-class 250 --test-per-class 50
fi

# lap NAME: the time since the last call
last=$SECONDS
lap() {
  printf -v "$1" '%d s' $((SECONDS - last))
  last=$SECONDS
}

echo "== teacher: ResNet-32, trained with the labels"
lap unused
"$coss" train recipes/quickstart_teacher.json data.path="$images" --out "$run/teacher"
lap teacher_time
teacher=$run/teacher/student.safetensors

echo "== neighbors: the nearest images of each image, by the teacher's features"
"$coss" mine --model resnet32_cifar --weights "$teacher" --data "$images" --size 32 --k 15 --out "$run/neighbors.npy"

echo "== student: ResNet-20, distilled with CoSS, no labels"
"$coss" train recipes/quickstart.json data.path="$images" teacher.weights="$teacher" \
  neighbors.file="$run/neighbors.npy" --out "$run/student"
lap student_time

# accuracy COMMAND MODEL WEIGHTS KEY: one number of the program's JSON
accuracy() {
  "$coss" eval "$1" --model "$2" --weights "$3" --data "$images" --size 32 --json "${@:5}" 2>/dev/null |
    grep -o "\"$4\": *[0-9.]*" | head -n 1 | sed 's/.*: *//'
}
row() {  # name, model, weights, time
  printf '%-34s %8s %% %8s %%   %s\n' "$1" "$(accuracy knn "$2" "$3" 20 --k 20)" "$(accuracy linear "$2" "$3" top1)" "$4"
}
echo "== results on the test images"
printf '%-34s %10s %10s   %s\n' "" "kNN" "linear" "training"
row "teacher, ResNet-32, labels" resnet32_cifar "$teacher" "$teacher_time"
row "student, ResNet-20, CoSS" resnet20_cifar "$run/student/student.safetensors" "$student_time"
row "the same student, untrained" resnet20_cifar "" "-"
echo "The student is $run/student/student.safetensors; PyTorch's load_state_dict takes it as it is."
