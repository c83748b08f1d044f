"""Compares the descent with `torch.optim.LBFGS` on the same loss: network, images, weights and
starting image alike.

    python scripts/compare_lbfgs.py CONTENT STYLE --size 256 --num-steps 200

needs PyTorch (`pip install torch`). PyTorch runs as the paper's author ships it: learning rate 1,
history 100, one closure a step, no line search. Prints the lowest loss that each has seen after so
many evaluations, and their ratio; exits with status 1 if a final ratio is above 1.02.
"""

import argparse
import json
import sys

import jax
import numpy as np
import torch

import nst_jax as nst

ALLOWED_RATIO = 1.02


def torch_loss(
    params, targets, weights, config, memory_format=torch.contiguous_format, device="cpu"
):
    """The loss of `nst_jax.total_loss`, with average pooling, in PyTorch: summed over a batch
    (images, 3, height, width)."""
    tensor = lambda array: torch.from_numpy(np.array(array)).to(device)
    kernels = {
        layer: (
            tensor(param["kernel"]).permute(3, 2, 0, 1).contiguous(memory_format=memory_format),
            tensor(param["bias"]),
        )
        for layer, param in params.items()
        if layer != "mean"
    }
    as_torch = lambda features: (
        tensor(features).permute(2, 0, 1)[None].contiguous(memory_format=memory_format)
    )
    content = {layer: as_torch(features) for layer, features in targets["content"].fields.items()}
    style = {layer: tensor(target) for layer, target in targets["style"].wanted.items()}
    content_scale, style_scale = (
        {layer: float(found) for layer, found in targets[name].scale.items()}
        for name in ("content", "style")
    )
    mean = tensor(params["mean"])[:, None, None]
    deepest = max(config.content_layers + config.style_layers)

    def loss(images):
        activations = (images - mean).contiguous(memory_format=memory_format)
        total, block = 0.0, "1"
        for layer, (kernel, bias) in kernels.items():
            if layer[4] != block:
                activations, block = torch.nn.functional.avg_pool2d(activations, 2), layer[4]
            activations = torch.relu(
                torch.nn.functional.conv2d(activations, kernel, bias, padding=1)
            )
            if layer in content:
                distance = (
                    torch.sum((activations - content[layer]) ** 2) / content[layer][0, 0].numel()
                )
                total = total + weights.content * content_scale[layer] * distance / len(content)
            if layer in style:
                # Rows or columns of positions, whichever are a view of the memory.
                if memory_format == torch.channels_last:
                    positions = activations.permute(0, 2, 3, 1).flatten(1, 2)
                    gram = positions.mT @ positions / positions.shape[1]
                else:
                    positions = activations.flatten(2)
                    gram = positions @ positions.mT / positions.shape[2]
                distance = torch.sum((gram - style[layer]) ** 2)
                total = total + weights.style * style_scale[layer] * distance / len(style)
            if layer == deepest:
                break
        return total

    return loss


def run_torch(loss_function, initial, num_steps, callback=lambda: None, device="cpu"):
    """The loss at each of `num_steps` closures, after each of which `callback` is called, and the
    best image."""
    image = (
        torch.from_numpy(np.array(initial)[None])
        .permute(0, 3, 1, 2)
        .contiguous()
        .to(device)
        .requires_grad_()
    )
    optimizer = torch.optim.LBFGS(
        [image], lr=1, max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0
    )
    losses, best = [], image.detach().clone()

    def closure():
        optimizer.zero_grad()
        loss = loss_function(image)
        loss.backward()
        losses.append(loss.item())
        if losses[-1] <= min(losses):
            best.copy_(image.detach())
        callback()
        return loss

    for _ in range(num_steps):
        optimizer.step(closure)
    return np.array(losses), best[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--num-steps", type=int, default=200)
    parser.add_argument("--output", help="JSON file for the histories")
    args = parser.parse_args()

    params = nst.load_params("vgg16")
    content = nst.read_image(args.content, size=args.size)
    style = nst.read_image(args.style, size=args.size)
    weights, failed, histories = nst.LossWeights(grain=None), False, {}
    for init in ("content", "noise"):
        config = nst.TransferConfig(num_steps=args.num_steps, init=init, coarse_to_fine=False)
        loss = nst.default_loss(config, weights)
        targets = nst.make_targets(params, content, style, config, loss)
        initial = (
            content
            if init == "content"
            else np.asarray(jax.random.uniform(jax.random.key(0), content.shape))
        )
        ours = nst.stylize(params, content, style, config, weights, initial=initial).losses
        theirs, _ = run_torch(torch_loss(params, targets, weights, config), initial, args.num_steps)
        histories[init] = {"nst_jax": ours.tolist(), "torch": theirs.tolist()}
        print(
            f"{init} init: first evaluation differs by {abs(ours[0] / theirs[0] - 1):.1e} "
            "of the loss"
        )
        for count in sorted({25, 50, 100, args.num_steps}):
            ratio = np.nanmin(ours[:count]) / np.nanmin(theirs[:count])
            print(
                f"  after {count:4d}: nst_jax {np.nanmin(ours[:count]):.5f}  torch "
                f"{np.nanmin(theirs[:count]):.5f}  ratio {ratio:.4f}"
            )
        failed |= bool(ratio > ALLOWED_RATIO)
    if args.output:
        with open(args.output, "w") as file:
            json.dump(histories, file)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
