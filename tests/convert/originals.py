"""The published networks, written anew and small, with the tensors' names of their code."""

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock
from torchvision.models.video.resnet import BasicBlock as BasicBlock3d
from torchvision.models.video.resnet import Conv3DSimple

SIZES = (8, 12, 16, 24)


def named(**parts):
    """Modules and parameters by name, which the caller runs."""
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def stage(in_channels, out_channels, stride):
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    return nn.Sequential(
        BasicBlock(in_channels, out_channels, stride, shortcut), BasicBlock(out_channels, out_channels)
    )


class FormerDfer(nn.Module):
    """Clips `(batch, 4, 3, 32, 32)` to seven logits."""

    def __init__(self):
        super().__init__()
        first, second, third, fourth = SIZES
        self.s_former = named(
            conv1=nn.Conv2d(3, first, 7, 2, 3, bias=False),
            bn1=nn.BatchNorm2d(first),
            layer1=stage(first, first, 1),
            layer2=stage(first, second, 2),
            layer3=stage(second, third, 2),
            layer4=stage(third, fourth, 2),
            pos_embedding=nn.Parameter(torch.randn(1, 4, third)),
            spatial_transformer=self.transformer(third, depth=1, head_dim=4),
        )
        self.t_former = named(
            cls_token=nn.Parameter(torch.randn(1, 1, fourth)),
            pos_embedding=nn.Parameter(torch.randn(1, 5, fourth)),
            spatial_transformer=self.transformer(fourth, depth=3, head_dim=6),
        )
        self.fc = nn.Linear(fourth, 7)

    @staticmethod
    def transformer(width, *, depth, head_dim):
        def layer():
            attention = named(
                to_qkv=nn.Linear(width, 24 * head_dim, bias=False),
                to_out=nn.Sequential(nn.Linear(8 * head_dim, width), nn.Dropout(0.0)),
            )
            perceptron = named(
                net=nn.Sequential(
                    nn.Linear(width, 2 * width),
                    nn.GELU(approximate="tanh"),
                    nn.Dropout(0.0),
                    nn.Linear(2 * width, width),
                    nn.Dropout(0.0),
                )
            )
            parts = (attention, perceptron)
            return nn.ModuleList(named(fn=named(norm=nn.LayerNorm(width), fn=part)) for part in parts)

        return named(layers=nn.ModuleList(layer() for _ in range(depth)))

    @staticmethod
    def transform(transformer, tokens, *, heads=8):
        for attend, perceive in transformer.layers:
            query, key, value = (
                part.unflatten(2, (heads, -1)).transpose(1, 2)
                for part in attend.fn.fn.to_qkv(attend.fn.norm(tokens)).chunk(3, dim=-1)
            )
            context = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            tokens = tokens + attend.fn.fn.to_out(context)
            tokens = tokens + perceive.fn.fn.net(perceive.fn.norm(tokens))
        return tokens

    def forward(self, clips):
        spatial, temporal = self.s_former, self.t_former
        maps = functional.max_pool2d(spatial.bn1(spatial.conv1(clips.flatten(0, 1))).relu(), 3, 2, 1)
        maps = spatial.layer3(spatial.layer2(spatial.layer1(maps)))
        tokens = maps.flatten(2).transpose(1, 2) + spatial.pos_embedding
        tokens = self.transform(spatial.spatial_transformer, tokens)
        maps = spatial.layer4(tokens.transpose(1, 2).reshape(maps.shape))
        frames = maps.mean(dim=(2, 3)).unflatten(0, clips.shape[:2])
        tokens = torch.cat([temporal.cls_token.expand(len(clips), -1, -1), frames], dim=1)
        return self.fc(self.transform(temporal.spatial_transformer, tokens + temporal.pos_embedding)[:, 0])


class GcaIal(nn.Module):
    """Maps of stage 3, `(frames, 16, 3, 3)`, to 15 fused features a clip; the parts before have no forward here."""

    def __init__(self):
        super().__init__()
        width, hidden = 16, 64
        norms = {"conv": nn.Conv2d(width, width, 3, 2, 1, bias=False), "norm": nn.BatchNorm2d(width)}
        self.s_former = named(
            conv1=nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)),
            bn1=nn.BatchNorm2d(4),
            bias=nn.Parameter(torch.randn(1, 4, 1, 1)),
            layer1=stage(4, 4, 1),
            layer2=nn.Sequential(named(gc=nn.Conv2d(8, 8, 6, groups=8, bias=False))),
            layer3=nn.Sequential(named(gc=nn.Conv2d(16, 16, 3, groups=16, bias=False))),
            layer4=nn.Sequential(*stage(width, width, 2), BasicBlock(width, width)),
            patch_embedding=nn.Sequential(norms["conv"], norms["norm"], nn.ReLU()),
            pos_transformer=FormerDfer.transformer(width, depth=2, head_dim=2),
            pos_embedding_pos=nn.Parameter(torch.randn(1, 4, width)),
            temporal_transformer=FormerDfer.transformer(hidden, depth=2, head_dim=2),
            pos_embedding=nn.Parameter(torch.randn(1, 16, hidden)),
        )
        self.fc_f = nn.Linear(hidden, 7)

    def fuse(self, maps):
        parts, (clips, frames, *shape) = self.s_former, maps.shape
        static = parts.patch_embedding(maps[:, :-1].reshape(-1, *shape))
        tokens = static.flatten(2).transpose(1, 2) + parts.pos_embedding_pos
        static = FormerDfer.transform(parts.pos_transformer, tokens, heads=4).transpose(1, 2).reshape(static.shape)
        return (static + parts.layer4(maps.diff(dim=1).reshape(-1, *shape))).reshape(clips, frames - 1, -1)


def stage_3d(in_channels, out_channels, stride):
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(
            nn.Conv3d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm3d(out_channels)
        )
    return nn.Sequential(BasicBlock3d(in_channels, out_channels, Conv3DSimple, stride, shortcut))


class M3dfel(nn.Module):
    """Clips `(batch, 16, 3, 32, 32)` to seven logits, in bags of four."""

    def __init__(self):
        super().__init__()
        first, second, third, fourth = SIZES
        stem = nn.Sequential(
            nn.Conv3d(3, first, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(first), nn.ReLU()
        )
        self.features = nn.Sequential(
            stem,
            stage_3d(first, first, 1),
            stage_3d(first, second, 2),
            stage_3d(second, third, 2),
            stage_3d(third, fourth, 2),
            nn.AdaptiveAvgPool3d(1),
        )
        self.lstm = nn.LSTM(fourth, 16, 2, batch_first=True, bidirectional=True)
        self.to_qkv = nn.Linear(32, 96, bias=False)
        self.norm = named(
            weight=nn.Parameter(torch.randn(1, 32, 1)),
            bias=nn.Parameter(torch.randn(1, 32, 1)),
            mean_weight=nn.Parameter(torch.randn(2)),
            var_weight=nn.Parameter(torch.randn(2)),
        )
        self.pwconv = nn.Conv1d(4, 1, 3, padding=1)
        self.fc = nn.Linear(32, 7)

    def forward(self, clips):
        instances = clips.unflatten(1, (4, 4)).flatten(0, 1).transpose(1, 2)
        hidden, _ = self.lstm(self.features(instances).flatten(1).unflatten(0, (-1, 4)))
        query, key, value = (
            part.unflatten(2, (8, -1)).transpose(1, 2) for part in self.to_qkv(hidden).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        gates = self.normalise(attended.transpose(1, 2)).transpose(1, 2).sigmoid()
        return self.fc(self.pwconv(hidden * gates)[:, 0])

    def normalise(self, channels):
        """DMIN of `(batch, hidden, bag)` as the code computes it: with the variance over one less."""
        mean, variance = channels.mean(-1, keepdim=True), channels.var(-1, keepdim=True)
        whole_mean = mean.mean(1, keepdim=True)
        whole_variance = (variance + mean**2).mean(1, keepdim=True) - whole_mean**2
        of_mean, of_variance = self.norm.mean_weight.softmax(0), self.norm.var_weight.softmax(0)
        centre = of_mean[0] * mean + of_mean[1] * whole_mean
        spread = of_variance[0] * variance + of_variance[1] * whole_variance
        return (channels - centre) / (spread + 1e-5).sqrt() * self.norm.weight + self.norm.bias


class IResNet(nn.Module):
    """Images of 112 pixels to maps of 7; FaceX-Zoo's embedding stands above them."""

    def __init__(self):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8))
        places = [(8, 8, 2), (8, 8, 1), (8, 12, 2), (12, 16, 2), (16, 16, 1), (16, 24, 2)]
        self.body = nn.Sequential(*(self.unit(*place) for place in places))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(24), nn.Dropout(), nn.Flatten(), nn.Linear(24 * 49, 16), nn.BatchNorm1d(16)
        )

    @staticmethod
    def unit(in_channels, out_channels, stride):
        shortcut = nn.MaxPool2d(1, stride)
        if in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        return named(shortcut_layer=shortcut, res_layer=residual)

    def forward(self, images):
        maps = self.input_layer(images)
        for unit in self.body:
            maps = unit.res_layer(maps) + unit.shortcut_layer(maps)
        return maps


class RepVgg(nn.Module):
    """Images of 112 pixels to an embedding of 16."""

    def __init__(self):
        super().__init__()
        self.stage0 = self.block(3, 8, 1)
        self.stage1 = nn.Sequential(self.block(8, 8, 2), self.block(8, 8, 1))
        self.stage2 = nn.Sequential(self.block(8, 12, 2))
        self.stage3 = nn.Sequential(self.block(12, 16, 2), self.block(16, 16, 1))
        self.stage4 = nn.Sequential(self.block(16, 24, 2))
        self.output_layer = nn.Sequential(nn.BatchNorm2d(24), nn.Flatten(), nn.Linear(24 * 49, 16), nn.BatchNorm1d(16))

    @staticmethod
    def block(in_channels, out_channels, stride):
        def branch(size):
            convolution = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)
            return named(conv=convolution, bn=nn.BatchNorm2d(out_channels))

        parts = {"rbr_dense": branch(3), "rbr_1x1": branch(1)}
        if in_channels == out_channels and stride == 1:
            parts["rbr_identity"] = nn.BatchNorm2d(in_channels)
        return named(**parts)

    def forward(self, images):
        maps = images
        for block in (self.stage0, *self.stage1, *self.stage2, *self.stage3, *self.stage4):
            total = sum(branch.bn(branch.conv(maps)) for branch in (block.rbr_dense, block.rbr_1x1))
            maps = (total + block.rbr_identity(maps) if hasattr(block, "rbr_identity") else total).relu()
        return self.output_layer(maps)
