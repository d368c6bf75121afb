"""Writes the small files of torch.save that the tests of the trainer's reader are made of.

They lie beside this script: `python fixtures.py` makes them anew (with PyTorch 2.11.0).
"""

import pathlib
from collections import OrderedDict

import torch
from torch import nn

here = pathlib.Path(__file__).parent
count = torch.arange(24.0)
tensors = OrderedDict(
    f32=count[:12].view(3, 4).clone(),
    f16=(count[:6] / 4).half(),
    bf16=(count[:6] / 4).bfloat16(),
    f64=count[:6].double() / 4,
    transposed=count[:12].clone().view(3, 4).t(),
    strided=count[1::2],
    expanded=torch.tensor([7.0]).expand(3, 2),
    channels_last=count.view(1, 2, 3, 4).clone(memory_format=torch.channels_last),
    parameter=nn.Parameter(count[:3].clone()),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    counter=torch.tensor(5),
    flags=torch.tensor([True, False]),
    broken=torch.tensor([1.0, float("nan")]),
)
# `state_dict()` carries `_metadata`, an attribute of the ordered dictionary.
whole = {
    "state_dict": tensors,
    "norm": nn.BatchNorm2d(2).state_dict(),
    "epoch": 3,
    "history": [1, 2.0, None, True, -5, 300, 70000, 2**40, -(2**40)],
    "optimizer": {0: {"step": torch.tensor(1.0)}, 1: ("a", (), {})},
}
torch.save(whole, here / "views.pth")
torch.save(whole, here / "views-protocol4.pth", pickle_protocol=4)
torch.save(tensors, here / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(nn.Linear(2, 2), here / "module.pth")
torch.jit.save(torch.jit.script(nn.Linear(2, 2)), here / "script.pt")
