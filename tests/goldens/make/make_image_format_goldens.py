"""Goldens of the decoders of WebP, TIFF, GIF, AVIF and HEIC, made with Pillow (AVIF: Pillow 11.3 or later) and tifffile.

images_formats.safetensors  NAME.file NAME.pixels: small encoded images and what Pillow makes of their first frame
                            with convert("RGB")

HEIC is lossy in encoder and decoder; its picture is one that both keep, and its name begins with "heic".
"""
import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from pillow_heif import register_heif_opener
from safetensors.numpy import save

GOLDENS = Path(__file__).resolve().parent.parent
HEIGHT, WIDTH = 19, 29


def picture(seed, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        fy, fx = rng.uniform(0.05, 0.3, 2)
        planes.append(128 + 110 * np.sin(fy * y + fx * x + rng.uniform(0, 6)) + rng.normal(0, 8, (height, width)))
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8), "RGB")


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiled(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def files():
    rgb = picture(1)
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8) * 8, (HEIGHT, 1)), "L"))
    yield "webp_lossy", encoded(rgb, "WEBP", quality=80)
    yield "webp_lossless", encoded(picture(2), "WEBP", lossless=True)
    yield "webp_alpha", encoded(alpha, "WEBP", lossless=True, exact=True)
    yield "webp_animated", encoded(picture(3), "WEBP", save_all=True, append_images=[picture(4)], lossless=True)
    yield "tiff_plain", encoded(rgb, "TIFF")
    yield "tiff_lzw", encoded(picture(5), "TIFF", compression="tiff_lzw")
    yield "tiff_deflate_alpha", encoded(alpha, "TIFF", compression="tiff_adobe_deflate")
    yield "tiff_gray", encoded(rgb.convert("L"), "TIFF")
    yield "tiff_cmyk", encoded(rgb.convert("CMYK"), "TIFF")
    yield "tiff_palette", encoded(rgb.quantize(17), "TIFF")
    yield "tiff_bits", encoded(rgb.convert("1"), "TIFF")
    yield "tiff_pages", encoded(picture(6), "TIFF", save_all=True, append_images=[picture(7)])
    for orientation in range(2, 9):
        yield f"tiff_orientation{orientation}", encoded(picture(8), "TIFF", tiffinfo={274: orientation})
    array = np.asarray(picture(9))
    yield "tiff_tiles", tiled(array, tile=(16, 32), photometric="rgb", compression="zlib")
    yield "tiff_big_endian", tiled(array.astype(np.uint16) * 257, photometric="rgb", byteorder=">")
    yield "gif_plain", encoded(rgb.quantize(64), "GIF")
    yield "gif_straight", encoded(rgb.quantize(64), "GIF", interlace=0)
    yield "gif_transparent", encoded(rgb.quantize(16), "GIF", transparency=3)
    yield "gif_animated", encoded(picture(10).quantize(32), "GIF", save_all=True, append_images=[picture(11).quantize(32)])
    yield "avif", encoded(rgb, "AVIF", quality=100, subsampling="4:4:4")
    flat = Image.new("RGB", (WIDTH + 35, HEIGHT + 45), (128, 128, 128))
    yield "heic_flat", encoded(flat, "HEIF", quality=-1)


def main():
    register_heif_opener()
    tensors = {}
    for name, data in files():
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        tensors[f"{name}.file"] = np.frombuffer(data, np.uint8)
        tensors[f"{name}.pixels"] = np.ascontiguousarray(pixels)
    (GOLDENS / "images_formats.safetensors").write_bytes(save(tensors))


if __name__ == "__main__":
    main()
