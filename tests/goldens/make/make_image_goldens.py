"""Goldens of the image kernel and of the decoders, made with Pillow and torchvision.

images.safetensors        sourceN; NAME.ints NAME.floats NAME.expected: parameters, ints[16] the source, and the result
images_files.safetensors  NAME.file NAME.pixels: small encoded images and what Pillow decodes from them
images_real.safetensors   NAME.path NAME.ints NAME.floats NAME.expected: crops of real JPEG files, ints[16:20] the region

The order of ints and floats is the one of `case_of` in tests/data/image_cases.h.
"""
import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode

SHARED = Path(os.environ.get("COSS_SHARED", Path(__file__).resolve().parents[4] / "shared"))
REAL = [
    ("val/n01440764/n01440764_10592.JPEG", (20, 31, 150, 170)),
    ("val/n02979186/ILSVRC2012_val_00043121.JPEG", (0, 0, 224, 224)),
    ("val/n03028079/n03028079_3932.JPEG", (101, 3, 60, 81)),
]


def picture(height, width, seed):
    """Smooth colors, edges and noise: every operation has something to do, and some channels saturate."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(3):
        fy, fx, phase = rng.uniform(0.02, 0.3, 2).tolist() + [rng.uniform(0, 6.28)]
        wave = np.sin(fy * y + fx * x + phase) * 110 + 128
        edge = 90.0 * (((x * (channel + 2) + 3 * y) // 17) % 2)
        planes.append(wave + edge + rng.normal(0, 12, (height, width)) - 40)
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8), "RGB")


def augmented(image, size, resize, window, p):
    """What a torchvision pipeline makes: `resize` (h, w), `window` (y, x) of size (h, w), then the operations of p."""
    mode = InterpolationMode.BICUBIC if p.get("bicubic") else InterpolationMode.BILINEAR
    if resize != (image.height, image.width):
        image = F.resize(image, list(resize), mode)
    image = F.crop(image, window[0], window[1], size[0], size[1])
    if p.get("gray") == 2:
        image = F.to_grayscale(image, 3)
    if p.get("jitter"):
        steps = [
            lambda i: F.adjust_brightness(i, p.get("brightness", 1.0)),
            lambda i: F.adjust_contrast(i, p.get("contrast", 1.0)),
            lambda i: F.adjust_saturation(i, p.get("saturation", 1.0)),
            lambda i: F.adjust_hue(i, p["hue"]) if p.get("hue") else i,
        ]
        for step in p.get("order", (0, 1, 2, 3)):
            image = steps[step](image)
    if p.get("gray") == 1:
        image = F.to_grayscale(image, 3)
    if p.get("sigma"):
        image = F.gaussian_blur(image, [p.get("blur_window", 23)] * 2, [p["sigma"]] * 2)
    if p.get("solarize"):
        image = F.solarize(image, 128)
    if p.get("flip"):
        image = F.hflip(image)
    return np.asarray(image)


def as_f32(p):
    """The kernel gets its factors as float32."""
    return {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in p.items()}


def case(tensors, name, image, size, resize, window, **p):
    p = as_f32(p)
    order = p.get("order", (0, 1, 2, 3))
    ints = [image.height, image.width, *resize, *window, int(p.get("bicubic", 0)), int(p.get("flip", 0)),
            int(p.get("jitter", 0)), *order, p.get("gray", 0), p.get("blur_window", 23), p.get("solarize", 0)]
    floats = [p.get(k, d) for k, d in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0), ("sigma", 0))]
    tensors[f"{name}.ints"] = np.array(ints, np.int32)
    tensors[f"{name}.floats"] = np.array(floats, np.float32)
    tensors[f"{name}.expected"] = np.ascontiguousarray(augmented(image, size, resize, window, p))
    return tensors


def kernel_cases():
    large, small, square = sources = picture(90, 121, 1), picture(7, 5, 2), picture(40, 40, 3)
    tensors = {f"source{i}": np.ascontiguousarray(np.asarray(image)) for i, image in enumerate(sources)}

    def add(name, image, *args, **p):
        case(tensors, name, image, *args, **p)
        number = next(i for i, source in enumerate(sources) if source is image)
        tensors[f"{name}.ints"] = np.append(tensors[f"{name}.ints"], np.int32(number))

    for bicubic in (False, True):
        kind = "bicubic" if bicubic else "bilinear"
        add(f"resize_down_{kind}", large, (32, 32), (32, 32), (0, 0), bicubic=bicubic)
        add(f"resize_window_{kind}", large, (30, 28), (47, 63), (9, 17), bicubic=bicubic)
        add(f"resize_up_{kind}", small, (30, 33), (30, 33), (0, 0), bicubic=bicubic)
    add("resize_width_only", large, (33, 32), (90, 41), (50, 4))
    add("resize_height_only", large, (32, 33), (35, 121), (3, 80))
    add("resize_strong", large, (3, 2), (3, 2), (0, 0))
    add("window_outside", square, (40, 40), (40, 40), (-4, 3), flip=True)
    add("window_outside_resized", large, (36, 36), (30, 40), (-3, 7))
    for factor in (0.6, 1.37):
        add(f"brightness_{factor}", square, (40, 40), (40, 40), (0, 0), jitter=1, brightness=factor)
        add(f"contrast_{factor}", square, (40, 40), (40, 40), (0, 0), jitter=1, contrast=factor)
        add(f"saturation_{factor}", square, (40, 40), (40, 40), (0, 0), jitter=1, saturation=factor)
    for hue in (-0.4, -0.07, 0.1, 0.33):
        add(f"hue_{hue}", square, (40, 40), (40, 40), (0, 0), jitter=1, hue=hue)
    for gray in (1, 2):
        add(f"gray_{gray}", square, (40, 40), (40, 40), (0, 0), jitter=1, brightness=0.8, contrast=1.2, gray=gray)
    for sigma in (0.1, 0.5, 1.0, 2.0):
        add(f"blur_{sigma}", square, (40, 40), (40, 40), (0, 0), sigma=sigma)
    add("blur_tiny", small, (7, 5), (7, 5), (0, 0), sigma=1.5, blur_window=5)
    add("moco_v2", large, (36, 36), (36, 36), (0, 0), jitter=1, order=(2, 0, 3, 1), brightness=1.2, contrast=0.7,
        saturation=1.3, hue=0.05, sigma=0.8, flip=True)
    add("moco_v1", large, (36, 36), (36, 36), (0, 0), jitter=1, order=(3, 1, 2, 0), brightness=0.8, contrast=1.3,
        saturation=0.7, hue=-0.3, gray=2)
    add("byol_b", large, (36, 36), (36, 36), (0, 0), bicubic=True, jitter=1, order=(1, 3, 0, 2), brightness=0.9,
        contrast=1.2, saturation=1.1, hue=-0.06, sigma=0.4, solarize=1, flip=True)
    add("solarize", square, (40, 40), (40, 40), (0, 0), solarize=1)
    return tensors


def file_cases():
    tensors = {}

    def add(name, image, expected=None, **options):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        if expected is None:
            expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        tensors[f"{name}.file"] = np.frombuffer(buffer.getvalue(), np.uint8)
        tensors[f"{name}.pixels"] = np.ascontiguousarray(expected)

    image = picture(53, 67, 4)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        add("jpeg_" + subsampling.replace(":", ""), image, format="JPEG", quality=85, subsampling=subsampling)
    add("jpeg_progressive", image, format="JPEG", quality=80, progressive=True)
    add("jpeg_gray", image.convert("L"), format="JPEG", quality=90)
    add("jpeg_cmyk", image.convert("CMYK"), format="JPEG", quality=90)
    small = image.crop((0, 0, 31, 23))
    alpha = small.copy()
    alpha.putalpha(small.convert("L"))
    add("png_rgb", small, format="PNG")
    add("png_alpha", alpha, format="PNG")
    add("png_palette", small.quantize(16), format="PNG")
    add("png_gray", small.convert("L"), format="PNG")
    sixteen = np.asarray(small.convert("L")).astype(np.uint16) * 256 + 129
    add("png_16bit", Image.fromarray(sixteen), np.repeat((sixteen // 256).astype(np.uint8)[..., None], 3, 2), format="PNG")
    add("bmp", small, format="BMP")
    add("ppm", small, format="PPM")
    add("pgm", small.convert("L"), format="PPM")
    return tensors


def real_cases():
    tensors = {}
    for number, (path, (y, x, h, w)) in enumerate(REAL):
        image = Image.open(SHARED / "data/imagenette" / path).convert("RGB").crop((x, y, x + w, y + h))
        name = f"real{number}"
        case(tensors, name, image, (40, 40), (61, 59), (11, 9), bicubic=number == 1)
        tensors[f"{name}.path"] = np.frombuffer(path.encode(), np.uint8)
        tensors[f"{name}.ints"] = np.concatenate([tensors[f"{name}.ints"], np.array([y, x, h, w], np.int32)])
    return tensors


def save(path, tensors):
    save_file(tensors, path)
    path.chmod(0o644)


def make(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    save(folder / "images.safetensors", kernel_cases())
    save(folder / "images_files.safetensors", file_cases())
    if (SHARED / "data/imagenette").is_dir():
        save(folder / "images_real.safetensors", real_cases())


if __name__ == "__main__":
    make(Path(__file__).resolve().parents[1])
