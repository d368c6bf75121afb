"""The student and the teacher as plain PyTorch modules, with the names of the trainer's checkpoints.

Written from the architectures' descriptions, not from the trainer's code: `load_state_dict(strict=True)`
and equal outputs are what the two have to agree on.
"""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 38


def conv(ci, co, k, stride=1, dilation=1, groups=1):
    return nn.Conv2d(ci, co, k, stride, dilation * (k // 2), dilation, groups, bias=False)


class Block(nn.Module):
    """Convolution, depthwise, pointwise; the first is `conv` (3x3) or `reduce` (1x1)."""

    def __init__(self, first, k, ci, co):
        super().__init__()
        self.first = first
        self.add_module(first, conv(ci, co, k))
        self.bn1 = nn.BatchNorm2d(co)
        self.depthwise = conv(co, co, 3, groups=co)
        self.pointwise = conv(co, co, 1)
        self.bn2 = nn.BatchNorm2d(co)

    def forward(self, x):
        x = F.relu(self.bn1(getattr(self, self.first)(x)))
        return F.relu(self.bn2(self.pointwise(self.depthwise(x))))


class Up(Block):
    def __init__(self, ci, skip, co):
        super().__init__("reduce", 1, co + skip, co)
        self.up = nn.ConvTranspose2d(ci, co, 2, 2)

    def forward(self, x, skip):
        return super().forward(torch.cat([self.up(x), skip], 1))


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList(
            Block("conv", 3, ci, co) for ci, co in [(3, 8), (8, 16), (16, 16), (16, 32), (32, 64)]
        )
        self.decoder = nn.ModuleList(
            Up(ci, skip, co) for ci, skip, co in [(64, 32, 32), (32, 16, 16), (16, 16, 16), (16, 8, 8)]
        )
        self.mask_head = nn.Conv2d(8, 1, 1)
        self.class_head = nn.Linear(64, CLASSES)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.encoder):
            x = block(x)
            if i < 4:
                skips.append(x)
                x = F.max_pool2d(x, 2) if i < 3 else F.avg_pool2d(x, 2)
        embedding = x.mean((2, 3))
        for block in self.decoder:
            x = block(x, skips.pop())
        return self.class_head(embedding), self.mask_head(x), embedding


class Residual(nn.Module):
    def __init__(self, ci, width, bottleneck, stride, dilation):
        super().__init__()
        co = width * (4 if bottleneck else 1)
        three = dict(stride=stride, dilation=dilation)
        if bottleneck:
            shapes = [(ci, width, 1, {}), (width, width, 3, three), (width, co, 1, {})]
        else:
            shapes = [(ci, co, 3, three), (co, co, 3, dict(dilation=dilation))]
        self.depth = len(shapes)
        for i, (a, b, k, options) in enumerate(shapes, 1):
            self.add_module(f"conv{i}", conv(a, b, k, **options))
            self.add_module(f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride != 1 or ci != co:
            self.downsample = nn.Sequential(conv(ci, co, 1, stride), nn.BatchNorm2d(co))

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Stride 16: every 3x3 of the last layer is dilated instead of strided, as segmentation_models does."""

    def __init__(self, blocks, bottleneck):
        super().__init__()
        self.conv1 = conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        ci = 64
        for i, (count, (stride, dilation)) in enumerate(zip(blocks, [(1, 1), (2, 1), (2, 1), (1, 2)])):
            layer = []
            for block in range(count):
                width = 64 << i
                layer.append(Residual(ci, width, bottleneck, stride if block == 0 else 1, dilation))
                ci = width * (4 if bottleneck else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
        self.features = ci

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        skip = self.layer1(x)
        return skip, self.layer4(self.layer3(self.layer2(skip)))


def separable(ci, co, dilation=1):
    return nn.Sequential(conv(ci, ci, 3, dilation=dilation, groups=ci), conv(ci, co, 1))


def normed(*layers):
    """Layers, batch normalization as wide as the last of them, ReLU."""
    last = layers[-1][-1] if isinstance(layers[-1], nn.Sequential) else layers[-1]
    return nn.Sequential(*layers, nn.BatchNorm2d(last.out_channels), nn.ReLU())


class Pyramid(nn.Module):
    def __init__(self, ci, co=256):
        super().__init__()
        self.convs = nn.ModuleList(
            [normed(conv(ci, co, 1))]
            + [normed(separable(ci, co, rate)) for rate in (12, 24, 36)]
            + [normed(nn.AdaptiveAvgPool2d(1), conv(ci, co, 1))]
        )
        self.project = nn.Sequential(*normed(conv(5 * co, co, 1)), nn.Dropout(0.5))

    def forward(self, x):
        branches = [branch(x) for branch in self.convs]
        branches[-1] = branches[-1].expand(-1, -1, *x.shape[2:])
        return self.project(torch.cat(branches, 1))


class Decoder(nn.Module):
    def __init__(self, features, skip):
        super().__init__()
        self.aspp = nn.Sequential(Pyramid(features), *normed(separable(256, 256)))
        self.block1 = normed(conv(skip, 48, 1))
        self.block2 = normed(separable(256 + 48, 256))

    def forward(self, skip, x):
        x = F.interpolate(self.aspp(x), skip.shape[2:], mode="bilinear", align_corners=True)
        return self.block2(torch.cat([x, self.block1(skip)], 1))


class Teacher(nn.Module):
    def __init__(self, blocks, bottleneck):
        super().__init__()
        self.encoder = ResNet(blocks, bottleneck)
        features = self.encoder.features
        self.decoder = Decoder(features, 256 if bottleneck else 64)
        self.segmentation_head = nn.Sequential(nn.Conv2d(256, 1, 1))
        self.class_head = nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, CLASSES))

    def forward(self, x):
        skip, features = self.encoder(x)
        embedding = features.mean((2, 3))
        mask = self.segmentation_head(self.decoder(skip, features))
        mask = F.interpolate(mask, x.shape[2:], mode="bilinear", align_corners=True)
        return self.class_head(embedding), mask, embedding


def build(name):
    """`student`, or the teacher over `resnet18`, `resnet34`, `resnet50`, `resnet101`."""
    if name == "student":
        return Student()
    blocks = dict(resnet18=(2, 2, 2, 2), resnet34=(3, 4, 6, 3), resnet50=(3, 4, 6, 3), resnet101=(3, 4, 23, 3))
    return Teacher(blocks[name], name in ("resnet50", "resnet101"))
