"""Configuration of CFC-SP."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_dfer import SEVEN_LABELS, DferConfig, PrintedSize

NETS = ("swin", "iresnet", "hrnet", "repvgg", "resnet")
EIGHT_LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")


@strict
class CfcSpConfig(DferConfig):
    """Coarse-to-fine cascaded networks with smooth predicting of Xue et al., CVPRW 2022; the paper's best by default.

    The rows of Table 2 are `coarse_nets` and `fine_nets`, those of Table 4 `smoothing_window`. Table 1 leaves out the
    cascade where every label is a group of its own, and the smoothing where the window is 0.

    The paper leaves open what follows; "code" is the first author's (youqingxiaozhua/ABAW3 at 51ab58a), which has the
    four nets but neither cascade nor vote nor smoothing.

    - The nets are the code's: IResNet without its output layer, Swin without its last norm, HRNet and RepVGG for 112
      pixels (a stem of half the usual stride). RepVGG ends in a layer of 512, the others in the mean over the map.
      Convolutions and layers before a batch norm have no bias, which the norm would take away.
    - `resnet`, the ResNet-18 of the frame recogniser, is not among the paper's nets. It is here so that a cascade can
      start from a frame recogniser.
    - Swin sees 224 pixels and the others 112 (Sec. 4.1): each net resizes what comes in. HRNet gets 112, as printed.
    - What is smoothed are the logits of every net, before the softmax ("feature logits", Sec. 3.3 and Fig. 3); those
      of the fine nets over all frames of the window, negative or not.
    - Eq. 1 adds w + 1 frames for an even w and divides by w; the text says mean. Ours is the mean of the frames from
      i - ⌊w/2⌋ to i + ⌊w/2⌋ that the clip has. At w = 0, where Eq. 1 is undefined, frames stay as they are.
    - Smoothing is for predicting: the losses see the frames as they are, as the code trains on images.
    - The paper stops at frames. The clip's probabilities are the mean of its smoothed frames'.
    - The loss is plain cross entropy (Sec. 4.1); the code's Swin smooths its labels by 0.1.

    Args:
        coarse_nets: Which of `swin`, `iresnet`, `hrnet`, `repvgg` and `resnet` vote on the group.
        fine_nets: Which of them vote on the class inside a group; the paper's negative net. None is built where no
            group has several classes.
        smoothing_window: Frames around each whose mean is added, w of Eq. 1; 0 adds nothing. Counted in frames given,
            256 of them 8 seconds at 30 frames per second.
        corpus_frames_per_second: Rate of the videos that the window was chosen on: Aff-Wild2's, at which 256 frames
            are "about 8 seconds" (Sec. 4.3). Videos of another rate are smoothed over as many seconds.
        frames_per_pass: Frames that go through a net at once when no gradients are asked for.
        net_image_sizes: Height and width in pixels at which each net sees a frame.
        swin_width: Channels of Swin's first stage; each later one doubles them.
        swin_depths: Blocks of Swin's stages.
        swin_heads: Attention heads of Swin's stages.
        swin_window: Height and width of Swin's windows in patches of 4×4 pixels.
        swin_drop_path: Largest rate of dropped blocks, in training.
        iresnet_sizes: Channels of IResNet's stages.
        iresnet_depths: Units of IResNet's stages.
        hrnet_width: Channels of HRNet's finest branch; each coarser one doubles them.
        hrnet_stem_size: Channels of HRNet's first convolution, and of the bottlenecks of its first stage.
        hrnet_modules: Exchange modules of HRNet's second, third and fourth stage.
        hrnet_depth: Blocks of a branch between two exchanges, and bottlenecks of the first stage.
        hrnet_head_size: Bottleneck channels of the finest branch's head; HRNet ends in 64 times as many features.
        repvgg_sizes: Channels of RepVGG's stages.
        repvgg_depths: Blocks of RepVGG's stages.
        repvgg_embedding_size: Width of RepVGG's last layer.
        repvgg_fused: Whether RepVGG is in its deployed form, one convolution a block; see the model's `fuse`.
        resnet_sizes: Channels of ResNet's stages; the first is also the stem's.
        resnet_depths: Blocks of ResNet's stages.
        groups: The coarse classes (Sec. 3.2); those of several labels are what the fine nets split.
        coarse_first: The paper's hard choice (Sec. 3.2).
    """

    model_type = "dfer_cfc_sp"
    group_table = {
        **{label: (label,) for label in ("neutral", "happiness", "surprise", "other")},
        "negative": DferConfig.group_table["negative"],
    }
    presets = {
        "paper": {},
        "small": {
            # Of corpora without a class `other`.
            "id2label": dict(enumerate(SEVEN_LABELS)),
            "net_image_sizes": dict.fromkeys(NETS, 112),
            "swin_width": 48,
            "swin_depths": [2, 2, 4, 2],
            "swin_heads": [2, 4, 8, 16],
            "swin_drop_path": 0.1,
            "iresnet_sizes": [16, 48, 96, 192],
            "iresnet_depths": [1, 2, 4, 2],
            "hrnet_width": 9,
            "hrnet_stem_size": 16,
            "hrnet_modules": [1, 2, 1],
            "hrnet_depth": 2,
            "hrnet_head_size": 8,
            "repvgg_sizes": [16, 48, 96, 256],
            "repvgg_depths": [1, 2, 6, 1],
            "repvgg_embedding_size": 128,
            "resnet_sizes": [32, 64, 128, 256],
        },
        "tiny": {
            # Of corpora without a class `other`.
            "id2label": dict(enumerate(SEVEN_LABELS)),
            "num_frames": 4,
            "image_size": 32,
            "net_image_sizes": {"swin": 48, "iresnet": 32, "hrnet": 32, "repvgg": 32, "resnet": 32},
            "swin_width": 8,
            "swin_depths": [2, 1, 1, 1],
            "swin_heads": [1, 2, 2, 4],
            "swin_window": 3,
            "swin_drop_path": 0.0,
            "iresnet_sizes": [8, 12, 16, 24],
            "iresnet_depths": [1, 2, 1, 1],
            "hrnet_width": 6,
            "hrnet_stem_size": 8,
            "hrnet_modules": [1, 1, 1],
            "hrnet_depth": 1,
            "hrnet_head_size": 3,
            "repvgg_sizes": [8, 12, 16, 24],
            "repvgg_depths": [2, 1, 1, 1],
            "repvgg_embedding_size": 16,
            "resnet_sizes": [8, 12, 16, 24],
            "resnet_depths": [1, 1, 1, 1],
        },
    }
    printed = {
        "paper": PrintedSize(
            None,
            None,
            "The paper prints no size. Of its nets FaceX-Zoo prints RepVGG-B1 as we have it: 106.75 M parameters and "
            "13.21 G multiply-adds for one picture.",
        )
    }

    coarse_nets: list[str] = field(default_factory=lambda: ["swin", "iresnet", "hrnet"])
    fine_nets: list[str] = field(default_factory=lambda: ["repvgg"])
    smoothing_window: int = 256
    corpus_frames_per_second: float | int = 30.0
    frames_per_pass: int = 32
    net_image_sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NETS, 112) | {"swin": 224})
    swin_width: int = 96
    swin_depths: list[int] = field(default_factory=lambda: [2, 2, 18, 2])
    swin_heads: list[int] = field(default_factory=lambda: [3, 6, 12, 24])
    swin_window: int = 7
    swin_drop_path: float | int = 0.3
    iresnet_sizes: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    iresnet_depths: list[int] = field(default_factory=lambda: [3, 8, 36, 3])
    hrnet_width: int = 18
    hrnet_stem_size: int = 64
    hrnet_modules: list[int] = field(default_factory=lambda: [1, 4, 3])
    hrnet_depth: int = 4
    hrnet_head_size: int = 32
    repvgg_sizes: list[int] = field(default_factory=lambda: [128, 256, 512, 2048])
    repvgg_depths: list[int] = field(default_factory=lambda: [4, 6, 16, 1])
    repvgg_embedding_size: int = 512
    repvgg_fused: bool = False
    resnet_sizes: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    resnet_depths: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    coarse_first: bool = True
    id2label: dict[int, str] | dict[str, str] | None = field(default_factory=lambda: dict(enumerate(EIGHT_LABELS)))

    def validate_nets(self) -> None:
        """Refuse ensembles without a net, unknown nets, and sizes at which a net's halvings do not come out."""
        for name in ("coarse_nets", "fine_nets"):
            nets = getattr(self, name)
            if not nets or any(net not in NETS for net in nets):
                raise ValueError(f"`{name}` must be some of {list(NETS)}, got {nets}.")
        for net in [*self.coarse_nets, *self.fine_nets]:
            size = self.net_image_sizes.get(net, 0)
            if size < 16 or size % 16:
                raise ValueError(f"`net_image_sizes` must give {net} a multiple of 16, got {self.net_image_sizes}.")

    def validate_smoothing(self) -> None:
        """Refuse windows and passes that hold no frames."""
        if self.smoothing_window < 0:
            raise ValueError(f"`smoothing_window` must be at least 0, got {self.smoothing_window}.")
        if self.frames_per_pass < 1:
            raise ValueError(f"`frames_per_pass` must be at least 1, got {self.frames_per_pass}.")

    def validate_stages(self) -> None:
        """Refuse nets of another number of stages."""
        fours = [f"{net}_{field}" for net in ("iresnet", "repvgg", "resnet") for field in ("sizes", "depths")]
        fours += ["swin_depths", "swin_heads"]
        for name, length in (dict.fromkeys(fours, 4) | {"hrnet_modules": 3}).items():
            if len(getattr(self, name)) != length:
                raise ValueError(f"`{name}` must have {length} entries, got {getattr(self, name)}.")
