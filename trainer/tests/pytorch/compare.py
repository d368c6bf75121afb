"""Runs the trainer's checkpoints in PyTorch, and saves networks for the trainer to run.

python compare.py FOLDER [NETWORK …]

`FOLDER/image.safetensors` holds the `image`. Every `FOLDER/ours-NETWORK.safetensors` is loaded strictly
and its `logits`, `mask` and `embedding` go to `FOLDER/answer-NETWORK.safetensors`. Every NETWORK named is
made with weights and statistics of its own: `FOLDER/theirs-NETWORK.{pth,safetensors}` is its state dict,
`FOLDER/expected-NETWORK.safetensors` its answer.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

from networks import build


def answer(network, image):
    with torch.no_grad():
        outputs = network.eval()(image)
    return {name: tensor.contiguous() for name, tensor in zip(("logits", "mask", "embedding"), outputs)}


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    folder = pathlib.Path(sys.argv[1])
    image = load_file(folder / "image.safetensors")["image"]
    for file in sorted(folder.glob("ours-*.safetensors")):
        name = file.stem.split("-", 1)[1]
        network = build(name.split("_")[0])
        network.load_state_dict(load_file(file), strict=True)
        save_file(answer(network, image), folder / f"answer-{name}.safetensors")
    for name in sys.argv[2:]:
        network = build(name).train()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.2)
            for _ in range(5):
                network(torch.rand_like(image))
        state = network.state_dict()
        torch.save(state, folder / f"theirs-{name}.pth")
        save_file(state, folder / f"theirs-{name}.safetensors")
        save_file(answer(network, image), folder / f"expected-{name}.safetensors")


main()
