"""Makes tests/goldens with PyTorch: `python tests/goldens/make/make_goldens.py [FOLDER]`; see tests/goldens/README.md.

Results are computed in float64 and stored as float32, so that a difference is the engine's error and not the sum of
two. Big inputs and all network weights are not stored: both sides compute them from their names.

  key   = fnv1a64(name) + seed * 0xD1B54A32D192ED03                                          (modulo 2^64)
  u[j]  = (splitmix64's finalizer of key + (j + 1) * 0x9E3779B97F4A7C15) >> 11, times 2^-52, minus 1     in [-1, 1)

for element j in row-major order: PyTorch's layout (OIHW) for parameters, (N,H,W,3) for images. From u, in float64:

  rank >= 2 (convolution, linear)   u * gain * sqrt(3 / fan_in), fan_in = elements / first dimension
  *running_var                      1 + 0.2 u
  other *weight (norm scale)        1 + 0.1 u
  everything else                   0.1 u
  images                            1.7 u

and each is then rounded to float32. `name` is PyTorch's, without any prefix; the seed tells networks apart.
"""
import importlib
import sys
from pathlib import Path

import torch

MAKERS = ["make_op_goldens", "make_optimizer_goldens", "make_model_goldens", "make_vit_goldens",
          "make_mobile_goldens", "make_step_goldens", "make_image_goldens", "make_format_goldens", "make_bank_goldens",
          "make_pair_loss_goldens",
          "make_contrast_goldens", "make_map_loss_goldens",
          "make_relation_loss_goldens",
          "make_matrix_goldens",
          "make_logit_loss_goldens"]


def main():
    here = Path(__file__).resolve().parent
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    for name in MAKERS:
        if (here / f"{name}.py").exists():
            importlib.import_module(name).make(folder)


if __name__ == "__main__":
    main()
