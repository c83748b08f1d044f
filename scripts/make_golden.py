"""Makes `tests/golden/vgg_features.npz`: samples of the features that PyTorch computes with random
weights.

    python scripts/make_golden.py tests/golden/vgg_features.npz

needs PyTorch (`pip install torch`). The weights come from a seed and are not stored; the library
takes no part.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.reference import LAYERS, POOLS_BEFORE, random_params

SEED, SAMPLES = 3, 96


def main() -> None:
    rng = np.random.default_rng(SEED)
    golden = {"seed": SEED, "image": rng.random((37, 50, 3)).astype(np.float32)}
    for network, layers in LAYERS.items():
        params = random_params(network, SEED)
        for pooling, pool in (
            ("avg", torch.nn.functional.avg_pool2d),
            ("max", torch.nn.functional.max_pool2d),
        ):
            activations = torch.from_numpy(golden["image"] - params["mean"]).permute(2, 0, 1)[None]
            for layer in layers:
                if layer in POOLS_BEFORE:
                    activations = pool(activations, 2)
                kernel = torch.from_numpy(params[layer]["kernel"]).permute(3, 2, 0, 1)
                bias = torch.from_numpy(params[layer]["bias"])
                activations = torch.relu(
                    torch.nn.functional.conv2d(activations, kernel, bias, padding=1)
                )
                values = activations[0].permute(1, 2, 0).numpy().ravel()
                positions = rng.choice(values.size, SAMPLES, replace=False)
                key = f"{network}/{pooling}/{layer}"
                golden |= {
                    f"{key}/positions": positions,
                    f"{key}/values": values[positions],
                    f"{key}/max": values.max(),
                }
    np.savez_compressed(sys.argv[1], **golden)


if __name__ == "__main__":
    main()
