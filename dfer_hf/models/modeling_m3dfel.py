"""M3DFEL: a clip as a bag of short 3D instances (Wang et al., CVPR 2023), with the intensity-aware loss."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_m3dfel import M3dfelConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel, cross_entropy
from .modeling_r3d import R3dTrunk


class BidirectionalLstmLayer(nn.Module):
    """One layer of an LSTM that reads the instances in both directions.

    It is made of cells, because `nn.LSTM` keeps a second list of its weights, which loading can miss.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTMCell(input_size, hidden_size)
        self.backwards = nn.LSTMCell(input_size, hidden_size)

    def forward(self, instances: torch.Tensor) -> torch.Tensor:
        """Read instances `(batch, bag, input)`: `(batch, bag, 2·hidden)`, the forward direction first."""
        directions = []
        for cell, step in ((self.forwards, 1), (self.backwards, -1)):
            states, steps = None, []
            for instance in instances.unbind(dim=1)[::step]:
                states = cell(instance, states)
                steps.append(states[0])
            directions.append(torch.stack(steps[::step], dim=1))
        return torch.cat(directions, dim=-1)


class InstanceAttention(nn.Module):
    """Multi-head self-attention between the instances of a bag, without bias and output projection."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.head_dim = hidden_size // num_heads
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size, bias=False)

    def forward(self, instances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix instances `(batch, bag, hidden)`; also return weights `(batch, heads, bag, bag)`."""
        query, key, value = (
            part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, bag, head_dim)
            for part in self.query_key_value(instances).chunk(3, dim=-1)
        )
        weights = (query @ key.transpose(2, 3) * self.head_dim**-0.5).float().softmax(dim=-1)
        return (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2), weights


class DynamicMultiInstanceNorm(nn.Module):
    """Normalise by a learnt mixture of the statistics of each channel and of the whole bag (DMIN, Eq. 1 to 4)."""

    eps = 1e-5

    def __init__(self, hidden_size: int, *, unbiased_variance: bool) -> None:
        super().__init__()
        self.unbiased_variance = unbiased_variance
        self.weight = nn.Parameter(torch.empty(hidden_size))  # gamma of Eq. 1
        self.bias = nn.Parameter(torch.empty(hidden_size))  # beta
        # λ of w, instance level first, then the bag's.
        self.mean_importance = nn.Parameter(torch.empty(2))
        self.variance_importance = nn.Parameter(torch.empty(2))  # λ of w'

    def forward(self, instances: torch.Tensor) -> torch.Tensor:
        """Normalise bags `(batch, bag, hidden)` each by itself, in single precision."""
        instances = instances.float()
        instance_mean = instances.mean(dim=1, keepdim=True)  # μ_in: (batch, 1, hidden)
        instance_variance = instances.var(dim=1, keepdim=True, correction=int(self.unbiased_variance))
        bag_mean = instance_mean.mean(dim=-1, keepdim=True)  # μ_bn: (batch, 1, 1)
        # Eq. 2 in two parts, the variance within the channels and the variance between them.
        bag_variance = instance_variance.mean(dim=-1, keepdim=True) + instance_mean.var(
            dim=-1, keepdim=True, correction=0
        )
        of_mean, of_variance = self.mean_importance.softmax(dim=0), self.variance_importance.softmax(dim=0)
        mean = of_mean[0] * instance_mean + of_mean[1] * bag_mean
        variance = of_variance[0] * instance_variance + of_variance[1] * bag_variance
        return (instances - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


class M3dfelForVideoClassification(DferPreTrainedModel):
    """M3DFEL: R3D-18 over each instance, then the dynamic long-term instance aggregation (DLIAM)."""

    config: M3dfelConfig
    config_class = M3dfelConfig
    evidence_layer = "trunk.frame_maps"
    map_method = "gradcam"
    # As the trunk's batch norms want it.
    supports_gradient_checkpointing = False
    _can_record_outputs = {"hidden_states": BidirectionalLstmLayer, "attentions": InstanceAttention}

    def __init__(self, config: M3dfelConfig) -> None:
        super().__init__(config)
        width = 2 * config.lstm_hidden_size
        self.trunk = R3dTrunk(config)
        self.lstm = nn.Sequential(
            *(
                BidirectionalLstmLayer(width if layer else config.hidden_sizes[-1], config.lstm_hidden_size)
                for layer in range(config.lstm_layers)
            )
        )
        self.attention = InstanceAttention(width, config.num_attention_heads)
        self.norm = DynamicMultiInstanceNorm(width, unbiased_variance=config.unbiased_variance)
        self.aggregation = nn.Conv1d(config.bag_size, 1, kernel_size=3, padding=1)
        self.classifier = nn.Linear(width, len(config.label_names))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DynamicMultiInstanceNorm):
            init.zeros_(module.bias)
            for parameter in (module.weight, module.mean_importance, module.variance_importance):
                init.ones_(parameter)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            The loss is Eq. 9. The bag's Z is a sum over gated instances (Eq. 5), which both kinds of evidence take
            apart and spread over each instance's frames: `frame_logits` are the classifier's answers to `bag_size`
            times an instance's part, so that their mean is `logits`; `frame_weights` are the size of the part, the sum
            of its absolute values, over that of all. `hidden_states` are the instances before the LSTM and after each
            of its layers, and `attentions` are between the instances.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos)
        instances = pixel_values_videos.unflatten(1, (self.config.bag_size, -1))
        return self.answer_instances(self.encode_instances(instances), labels)

    def encode_instances(self, instances: torch.Tensor) -> torch.Tensor:
        """Encode instances by themselves, `(batch, count, length, channels, height, width)` to `(batch, count, C)`."""
        features, shares = self.trunk(instances.flatten(0, 1).transpose(1, 2))  # (batch·count, length, C), (length,)
        features = (shares[:, None] * features).sum(dim=1).to(features.dtype)
        return features.unflatten(0, instances.shape[:2])

    def answer_instances(self, features: torch.Tensor, labels: torch.Tensor | None = None) -> DferOutput:
        """Answer as `forward` does, from the encoded instances of each clip, F of `(batch, bag, C)`."""
        batch_size, bag_size = len(features), self.config.bag_size
        instance_length = self.config.num_frames // bag_size
        hidden = self.lstm(features)  # X: (batch, bag, hidden)
        attended, _ = self.attention(hidden)  # A
        gates = self.norm(attended).sigmoid()
        gated = hidden * gates.to(hidden.dtype)
        logits = self.classifier(self.aggregation(gated)[:, 0]).float()  # of Z: (batch, hidden), Eq. 5

        tiny = torch.finfo(torch.float32).tiny
        parts = self.instance_parts(gated)  # (batch, bag, hidden)
        sizes = parts.float().abs().sum(dim=-1).clamp_min(tiny)  # (batch, bag)
        weights = sizes / (sizes.sum(dim=-1, keepdim=True) * instance_length)
        whole_parts = bag_size * parts + self.aggregation.bias  # pyright: ignore[reportOperatorIssue]  has a bias
        instance_logits = self.classifier(whole_parts)  # (batch, bag, labels)

        loss, loss_parts = None, None
        if labels is not None:
            target = self.label_distribution(labels, batch_size)
            loss_parts = {
                "cross_entropy": self.cross_entropy(logits, target),
                "intensity": intensity_aware_loss(logits, target),
            }
            loss = loss_parts["cross_entropy"] + self.config.lambda_intensity * loss_parts["intensity"]
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=instance_logits.repeat_interleave(instance_length, dim=1),
            frame_weights=weights.repeat_interleave(instance_length, dim=1),
            loss_parts=loss_parts,
        )

    def answer_rearranged(self, pixel_values_videos: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Answer clips of other orders of frames; an instance that several of them have is encoded once."""
        bag_size = self.config.bag_size
        instances, which = places.unflatten(1, (bag_size, -1)).flatten(0, 1).unique(dim=0, return_inverse=True)
        features = self.encode_instances(pixel_values_videos[:, instances])  # (batch, distinct instances, C)
        bags = features[:, which].unflatten(1, (-1, bag_size))
        return self.answer_instances(bags.flatten(0, 1)).logits.unflatten(0, bags.shape[:2])

    def instance_parts(self, gated: torch.Tensor) -> torch.Tensor:
        """Take Eq. 5 apart: what each gated instance of `(batch, bag, hidden)` adds to Z, without the bias."""
        kernels = self.aggregation.weight.transpose(0, 1)  # (bag, 1, 3)
        return nn.functional.conv1d(gated, kernels, padding=1, groups=self.config.bag_size)

    def cross_entropy(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """L_CE of Eq. 9, with label smoothing, of logits and target probabilities `(batch, num_labels)`."""
        smoothing = self.config.label_smoothing
        target = (1 - smoothing) * target + smoothing / target.shape[-1]
        return cross_entropy(logits, target)


def intensity_aware_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L_IA of Eq. 7 and 8: the true class against the most probable of the others, mean over the batch.

    Args:
        logits: Of the clip, `(batch, num_labels)`.
        target: Probabilities `(batch, num_labels)`; the loss is the mean over the classes taken for true.
    """
    itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    # x_max for each class as x_t.
    largest_other = logits[:, None].masked_fill(itself, -torch.inf).amax(dim=-1)
    return (target * nn.functional.softplus(largest_other - logits)).sum(dim=-1).mean()
