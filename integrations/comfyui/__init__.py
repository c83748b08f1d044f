"""A node of ComfyUI that paints images in the style of others, by nst_jax."""

import os

import comfy.model_management
import comfy.utils
import numpy as np

import nst_jax as nst

# JAX would take most of a GPU's memory for itself, of which ComfyUI's models need some.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


class StyleTransfer:
    """Paints every image of a batch in the style of one image, or of several, blended."""

    DESCRIPTION = "Paints an image in the style of another (Gatys et al., CVPR 2016)."
    CATEGORY = "image/style"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "paint"

    @classmethod
    def INPUT_TYPES(cls):
        strength = "80 paints flat parts too; less than 20 keeps more of the image."
        weight = {"default": 20.0, "min": 0.0, "max": 1e6, "step": 1.0, "tooltip": strength}
        count = {"default": 500, "min": 1, "max": 100_000, "tooltip": "More paint more thoroughly."}
        known = "vgg16 is installed with nst_jax; the others are fetched once."
        stroke = "Its strokes keep their size in pixels. Images of a batch are blended."
        where = "Where to paint, of the image's size; the rest stays. Soft edges blend."
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "Each of a batch is painted by itself."}),
                "style": ("IMAGE", {"tooltip": stroke}),
                "style_weight": ("FLOAT", weight),
                "num_steps": ("INT", count),
                "network": (["vgg16", "vgg19-8bit", "vgg19"], {"tooltip": known}),
            },
            "optional": {"mask": ("MASK", {"tooltip": where})},
        }

    def paint(self, image, style, style_weight, num_steps, network, mask=None):
        contents, styles = _pixels(image), list(_pixels(style))
        kept = [None] * len(contents) if mask is None else _kept(_pixels(mask), contents.shape)
        params = nst.load_params(network)
        config = nst.TransferConfig(num_steps=num_steps)
        weights = nst.LossWeights(style=style_weight)
        bar = comfy.utils.ProgressBar(len(contents) * num_steps)
        painted = []

        def show(progress):
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(len(painted) * num_steps + round(progress.done * num_steps))

        for content, keep in zip(contents, kept, strict=True):
            result = nst.stylize(params, content, styles, config, weights, keep=keep, callback=show)
            if result.failure:
                raise RuntimeError(f"image {len(painted) + 1}: {result.failure}")
            painted.append(np.asarray(result.image))
        return (image.new_tensor(np.stack(painted)),)


def _pixels(tensor):
    """As an array. Images that were resized overshoot a little."""
    return np.clip(tensor.float().cpu().numpy(), 0, 1)


def _kept(masks, shape):
    """How much of each pixel stays, for each image of a batch of that shape."""
    count, height, width, _ = shape
    if masks.shape[1:] != (height, width):
        raise nst.ConfigError(
            f"the mask is {masks.shape[2]} × {masks.shape[1]} pixels, the image {width} × {height};"
            " bring it to the size of the image (an image loaded without transparency has no mask)"
        )
    if len(masks) not in (1, count):
        raise nst.ConfigError(
            f"there are {len(masks)} masks for {count} images; give one, or one for each"
        )
    if not masks.any((1, 2)).all():
        raise nst.ConfigError("the mask is 0 everywhere; give 1 where to paint, or no mask")
    return np.broadcast_to(1 - masks, shape[:3])


NODE_CLASS_MAPPINGS = {"NSTJaxStyleTransfer": StyleTransfer}
NODE_DISPLAY_NAME_MAPPINGS = {"NSTJaxStyleTransfer": "Style transfer (nst_jax)"}
