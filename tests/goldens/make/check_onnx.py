"""Runs every ONNX file that the test OnnxWriter.EveryModel has left in a folder, and compares (onnx, onnxruntime):

  COSS_ONNX_FILES=FOLDER build/cpu/tests/test_formats --gtest_filter=OnnxWriter.EveryModel
  python tests/goldens/make/check_onnx.py FOLDER
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from golden_support import images

BOUND = 1e-5  # of the norm


def main():
    worst = 0.0
    for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        size = session.get_inputs()[0].shape[2]
        one = images("images", 1, size).float().numpy()
        name = session.get_outputs()[-1].name
        wanted = np.load(path.with_suffix(".npy"))
        (got,) = session.run([name], {"images": one})
        (many,) = session.run([name], {"images": np.concatenate([one, one[:, :, ::-1].copy()])})
        error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        batch = np.linalg.norm(many[:1] - wanted) / np.linalg.norm(wanted)
        worst = max(worst, error, batch)
        print(f"{path.stem}: {name} {error:.1e}" + ("" if max(error, batch) < BOUND else "  DIFFERS"), flush=True)
    print(f"worst {worst:.1e}")
    sys.exit(int(worst >= BOUND))


if __name__ == "__main__":
    main()
