"""Find the features of a clip inside each system, for the plots by t-SNE."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from dfer_hf.models.modeling_dfer import DferPreTrainedModel


@dataclass(frozen=True)
class FeaturePlace:
    """The layers whose input is the feature, and how it is read from that input.

    Args:
        layers: Names of the layers.
        argument: Which positional input of the layer it is.
        reading: `first` and `last` of the vectors of a clip, or their `mean`; the same where there is one.
        parts: Lists of nets; the last linear layer of each net is one of the layers.
    """

    layers: tuple[str, ...] = ()
    argument: int = 0
    reading: str = "first"
    parts: tuple[str, ...] = ()


FEATURE_PLACES: dict[str, FeaturePlace] = {
    # The paper's Fig. 7 shows V_0, the summary of the lowest level, which the fine converter takes second.
    "dfer_aen": FeaturePlace(("fine_converter",), argument=1),
    # No layer sees the clip as a whole: each net's last linear layer sees its frames.
    "dfer_cfc_sp": FeaturePlace(parts=("coarse_nets", "fine_nets"), reading="mean"),
    # The class token, then the frames.
    "dfer_former_dfer": FeaturePlace(("classifier",)),
    "dfer_frame_resnet": FeaturePlace(("classifier",), reading="mean"),
    "dfer_keypoint_gcn": FeaturePlace(("classifier",)),
    "dfer_m3dfel": FeaturePlace(("classifier",)),
    "dfer_nr_dfernet": FeaturePlace(("classifier",)),
    "dfer_r3d": FeaturePlace(("classifier",)),
    # The state after the last frame.
    "dfer_resnet_rnn": FeaturePlace(("classifier",), reading="last"),
}


@contextmanager
def watch_features(model: DferPreTrainedModel) -> Iterator["FeatureWatch"]:
    """Record the input of the layers that turn a clip's feature into its answer, while the context lasts.

    Raises:
        ValueError: If it is not known where the system's features lie.
    """
    place = FEATURE_PLACES.get(model.config.model_type)
    if place is None:
        raise ValueError(
            f"Expected one of {', '.join(FEATURE_PLACES)}, got {model.config.model_type!r}. "
            "Say in training/evaluation/features.py where its features lie."
        )
    if place.layers == ("classifier",) and not hasattr(model, "classifier"):
        place = FeaturePlace(("spatial_classifier",), reading="mean")  # key-points with `temporal="none"`
    watch = FeatureWatch(place, _layers(model, place))
    try:
        yield watch
    finally:
        watch.close()


class FeatureWatch:
    """Collects the inputs of layers; `take` is called after each batch."""

    def __init__(self, place: FeaturePlace, layers: list[nn.Module]) -> None:
        self.place = place
        self.inputs: list[list[torch.Tensor]] = [[] for _ in layers]
        self._hooks = [
            layer.register_forward_pre_hook(self._note(inputs))
            for layer, inputs in zip(layers, self.inputs, strict=True)
        ]

    def _note(self, inputs: list[torch.Tensor]):
        def hook(_module: nn.Module, arguments: tuple) -> None:
            inputs.append(arguments[self.place.argument].detach())

        return hook

    def take(self, batch_size: int) -> torch.Tensor:
        """Return the features of the last batch, `(batch, D)` float32 on the CPU."""
        features = []
        for inputs in self.inputs:
            # A layer may be called again for parts of the clip, such as snippets, which are left out; frames that it
            # saw in several passes are put together.
            seen = torch.cat(inputs) if self.place.reading == "mean" else inputs[0]
            vectors = seen.float().reshape(batch_size, -1, seen.shape[-1])  # (batch, vectors, D)
            reading = {"first": vectors[:, 0], "last": vectors[:, -1], "mean": vectors.mean(dim=1)}
            features.append(reading[self.place.reading])
            inputs.clear()
        return torch.cat(features, dim=1).cpu()

    def close(self) -> None:
        """Take the hooks out of the model."""
        for hook in self._hooks:
            hook.remove()


def _layers(model: DferPreTrainedModel, place: FeaturePlace) -> list[nn.Module]:
    layers = [model.get_submodule(name) for name in place.layers]
    for part in place.parts:
        nets = model.get_submodule(part).children()
        layers += [[layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1] for net in nets]
    return layers
