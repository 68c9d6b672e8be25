"""The nets among which CFC-SP votes: Swin and HRNet from timm, the others from beside this file."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import is_timm_available

from .configuration_cfc_sp import CfcSpConfig
from .modeling_frame_resnet import build_trunk
from .modeling_iresnet import IResNet
from .modeling_repvgg import RepVgg


class FrameNet(nn.Module):
    """A net that classifies single frames.

    Args:
        trunk: Images `(n, channels, image_size, image_size)` to maps `(n, features, h, w)`.
        head: These maps to classes `(n, classes)`.
        image_size: Height and width in pixels at which the trunk sees a frame.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.trunk = trunk
        self.head = head

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Classify frames `(n, channels, height, width)` of any size as logits `(n, classes)`."""
        if frames.shape[-1] != self.image_size:
            size = (self.image_size, self.image_size)
            # In single precision: CPUs resize nothing in half.
            resized = nn.functional.interpolate(
                frames.float(), size, mode="bilinear", align_corners=False, antialias=True
            )
            frames = resized.to(frames.dtype)
        return self.head(self.trunk(frames))


class SwinTrunk(nn.Module):
    """timm's Swin Transformer up to its last stage: neither norm nor head, and maps in torch's order."""

    def __init__(self, config: CfcSpConfig) -> None:
        super().__init__()
        check_timm()
        from timm.models.swin_transformer import SwinTransformer

        swin = SwinTransformer(
            img_size=config.net_image_sizes["swin"],
            in_chans=config.num_channels,
            num_classes=0,
            embed_dim=config.swin_width,
            depths=tuple(config.swin_depths),
            num_heads=tuple(config.swin_heads),
            window_size=config.swin_window,
            drop_path_rate=config.swin_drop_path,
            # Masks are made when needed: no buffers.
            strict_img_size=False,
        )
        self.patch_embed, self.layers = swin.patch_embed, swin.layers
        for name, buffer in list(self.named_buffers()):
            place, _, buffer_name = name.rpartition(".")
            # timm keeps it out of checkpoints.
            self.get_submodule(place).register_buffer(buffer_name, buffer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn images `(n, channels, height, width)` into maps `(n, 8 * swin_width, height / 32, width / 32)`."""
        return self.layers(self.patch_embed(images)).permute(0, 3, 1, 2)


@dataclass
class StageSizes:
    """What `build_trunk` wants to know."""

    num_channels: int
    hidden_sizes: list[int]
    depths: list[int]


class ResNetTrunk(nn.Module):
    """The ResNet of the frame recogniser."""

    def __init__(self, config: CfcSpConfig) -> None:
        super().__init__()
        sizes = StageSizes(config.num_channels, config.resnet_sizes, config.resnet_depths)
        self.backbone = build_trunk(sizes, ["stage4"])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn images `(n, channels, height, width)` into maps `(n, features, height / 32, width / 32)`."""
        return self.backbone(images).feature_maps[0]


class Bottleneck(nn.Module):
    """Three convolutions, the middle one 3×3 and a quarter as wide as the result, beside a shortcut."""

    def __init__(self, in_channels: int, inner_channels: int) -> None:
        super().__init__()
        out_channels = 4 * inner_channels
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, inner_channels, 1, bias=False),
            nn.BatchNorm2d(inner_channels),
            nn.ReLU(),
            nn.Conv2d(inner_channels, inner_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner_channels),
            nn.ReLU(),
            nn.Conv2d(inner_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Transform maps `(n, in_channels, h, w)` to `(n, 4 * inner_channels, h, w)`."""
        return (self.residual(features) + self.shortcut(features)).relu()


class HrNetTrunk(nn.Module):
    """timm's HRNet and a head of any width that gathers its four branches (Wang et al. 2021, Sec. 4.2).

    timm's own head has one width. Of its stem only the first convolution may halve images of 112 pixels (FaceX-Zoo).
    """

    def __init__(self, config: CfcSpConfig) -> None:
        super().__init__()
        check_timm()
        from timm.models.hrnet import HighResolutionNet

        branch_sizes = [config.hrnet_width * 2**branch for branch in range(4)]
        first_stage = {
            "num_modules": 1,
            "num_branches": 1,
            "block_type": "BOTTLENECK",
            "num_blocks": (config.hrnet_depth,),
            "num_channels": (config.hrnet_stem_size,),
            "fuse_method": "SUM",
        }
        later_stages = {
            f"stage{num_branches}": {
                "num_modules": num_modules,
                "num_branches": num_branches,
                "block_type": "BASIC",
                "num_blocks": (config.hrnet_depth,) * num_branches,
                "num_channels": tuple(branch_sizes[:num_branches]),
                "fuse_method": "SUM",
            }
            for num_branches, num_modules in zip((2, 3, 4), config.hrnet_modules, strict=True)
        }
        self.branches = HighResolutionNet(
            {"stem_width": config.hrnet_stem_size, "stage1": first_stage} | later_stages,
            in_chans=config.num_channels,
            num_classes=0,
            head="",
        )
        self.branches.conv2.stride = (1, 1)
        inner_sizes = [config.hrnet_head_size * 2**branch for branch in range(4)]
        self.widen = nn.ModuleList(
            Bottleneck(size, inner_size) for size, inner_size in zip(branch_sizes, inner_sizes, strict=True)
        )
        self.shrink = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4 * size, 8 * size, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8 * size), nn.ReLU()
            )
            for size in inner_sizes[:3]
        )
        self.merge = nn.Sequential(
            nn.Conv2d(4 * inner_sizes[3], 8 * inner_sizes[3], 1, bias=False),
            nn.BatchNorm2d(8 * inner_sizes[3]),
            nn.ReLU(),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn images `(n, channels, height, width)` into maps `(n, 64 * head_size, height / 16, width / 16)`."""
        finest, *coarser = self.branches.forward_features(images)
        gathered = self.widen[0](finest)
        for widen, shrink, branch in zip(self.widen[1:], self.shrink, coarser, strict=True):
            gathered = widen(branch) + shrink(gathered)
        return self.merge(gathered)


def check_timm() -> None:
    """Raise an `ImportError` that says what to install where timm is missing."""
    if not is_timm_available():
        raise ImportError(
            "CFC-SP takes Swin and HRNet from timm, which is not installed: run `pip install dfer-hf[cfc]`."
        )


def pooled_classifier(num_features: int, num_classes: int) -> nn.Module:
    """Mean over the map, then a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_features, num_classes))


def build_swin(config: CfcSpConfig, num_classes: int) -> FrameNet:
    """Build Swin, Swin-S by default."""
    head = pooled_classifier(8 * config.swin_width, num_classes)
    return FrameNet(SwinTrunk(config), head, config.net_image_sizes["swin"])


def build_iresnet(config: CfcSpConfig, num_classes: int) -> FrameNet:
    """Build IResNet, IResNet-152 by default."""
    trunk = IResNet(config.num_channels, config.iresnet_sizes, config.iresnet_depths)
    head = pooled_classifier(config.iresnet_sizes[-1], num_classes)
    return FrameNet(trunk, head, config.net_image_sizes["iresnet"])


def build_hrnet(config: CfcSpConfig, num_classes: int) -> FrameNet:
    """Build HRNet, HRNet-W18 by default."""
    head = pooled_classifier(64 * config.hrnet_head_size, num_classes)
    return FrameNet(HrNetTrunk(config), head, config.net_image_sizes["hrnet"])


def build_repvgg(config: CfcSpConfig, num_classes: int) -> FrameNet:
    """Build RepVGG, RepVGG-B1 by default, with the embedding layer of FaceX-Zoo."""
    size, num_features = config.net_image_sizes["repvgg"], config.repvgg_sizes[-1]
    trunk = RepVgg(config.num_channels, config.repvgg_sizes, config.repvgg_depths, fused=config.repvgg_fused)
    head = nn.Sequential(
        nn.BatchNorm2d(num_features),
        nn.Flatten(),
        nn.Linear(num_features * (size // 16) ** 2, config.repvgg_embedding_size, bias=False),
        nn.BatchNorm1d(config.repvgg_embedding_size),
        nn.Linear(config.repvgg_embedding_size, num_classes),
    )
    return FrameNet(trunk, head, size)


def build_resnet(config: CfcSpConfig, num_classes: int) -> FrameNet:
    """Build the frame recogniser's ResNet, ResNet-18 by default."""
    head = pooled_classifier(config.resnet_sizes[-1], num_classes)
    return FrameNet(ResNetTrunk(config), head, config.net_image_sizes["resnet"])


BUILDERS: dict[str, Callable[[CfcSpConfig, int], FrameNet]] = {
    "swin": build_swin,
    "iresnet": build_iresnet,
    "hrnet": build_hrnet,
    "repvgg": build_repvgg,
    "resnet": build_resnet,
}
