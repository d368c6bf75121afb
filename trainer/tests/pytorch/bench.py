"""Times training steps in eager PyTorch: what `trainer bench` does, with the same flags and the same JSON.

The batch is made once, so that drawing and rendering wafers, which the trainer does in every step, costs
nothing here. Convolutions get channels-last images, as the trainer's do.
"""

import argparse
import json
import time

import torch
from torch.nn import functional as F

from networks import CLASSES, build


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device(args.device)
    network = build(args.encoder or "student").to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    states = torch.randint(3, (args.batch, args.size, args.size), device=device)
    image = torch.rand(3, 3, device=device)[states].permute(0, 3, 1, 2)
    mask = (states == 2).float().unsqueeze(1)
    label = torch.randint(CLASSES, (args.batch,), device=device)

    def step():
        optimizer.zero_grad()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            logits, mask_logits, _ = network(image)
        class_loss = F.cross_entropy(logits.float(), label)
        mask_logits = mask_logits.float()
        probability = mask_logits.sigmoid()
        both = (probability * mask).sum((1, 2, 3)) * 2 + 1
        both = both / ((probability + mask).sum((1, 2, 3)) + 1)
        mask_loss = F.binary_cross_entropy_with_logits(mask_logits, mask) + (1 - both.mean())
        (class_loss + mask_loss).backward()
        optimizer.step()
        return torch.stack([class_loss, mask_loss]).detach()

    for _ in range(args.warm_up):
        losses = step()
    if args.warm_up:
        losses.tolist()  # waits for a GPU
    started = time.perf_counter()
    losses = sum(step() for _ in range(args.steps)) / args.steps
    losses = losses.tolist()
    seconds = time.perf_counter() - started
    rate = args.steps / seconds
    print(json.dumps(dict(seconds=seconds, steps_per_second=rate, images_per_second=rate * args.batch, losses=losses)))


main()
