"""Makes the seeds of the fuzz targets that are not goldens: `python tests/fuzz/make_seeds.py` (NumPy and Pillow)."""
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent


def main():
    out = HERE / "seeds"
    out.mkdir(exist_ok=True)
    for name in ("zip", "script", "module"):
        with zipfile.ZipFile(HERE.parent / "goldens" / "formats" / f"{name}.pt") as archive:
            entry = next(e for e in archive.namelist() if e.endswith("/data.pkl"))
            (out / f"{name}.pkl").write_bytes(archive.read(entry))
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(smooth).resize((20, 17), Image.BICUBIC)
    image.save(out / "color.jpg", quality=70)
    image.save(out / "progressive.jpg", quality=50, progressive=True, subsampling=0)
    image.convert("L").save(out / "gray.jpg", quality=60)
    image.quantize(8).save(out / "palette.png")
    # The same with a chunk that claims to be longer than the file.
    palette = bytearray((out / "palette.png").read_bytes())
    palette[palette.index(b"IDAT") - 4] = 0x3F
    (out / "chunk.png").write_bytes(palette)
    image.resize((5, 4)).save(out / "color.bmp")
    image.resize((5, 4)).save(out / "color.ppm")
    image.save(out / "color.webp", quality=60)
    image.save(out / "lossless.webp", lossless=True, save_all=True, append_images=[image.rotate(90)])
    image.save(out / "color.tif", compression="tiff_lzw", tiffinfo={274: 6})
    image.quantize(8).save(out / "palette.tif")
    image.quantize(8).save(out / "palette.gif", transparency=2)
    # A row of such a picture times its height is beyond 64 bits.
    huge = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54, 0, 54, 40, 2**31 - 1, 1 - 2**31, 1, 2**16 - 1, 0, 0, 0, 0, 0, 0)
    (out / "overflow.bmp").write_bytes(huge)
    records = random.integers(0, 10, (1, 1 + 3 * 32 * 32), np.uint8)
    (out / "cifar.bin").write_bytes(records.tobytes())


if __name__ == "__main__":
    main()
