"""The temporal transformer of Former-DFER (Zhao and Liu 2021), which several systems use."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def attention_weights(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """Softmax of the scaled products, `(batch, heads, tokens, tokens)`."""
    return (query @ key.transpose(2, 3) * scaling).softmax(dim=-1)


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention that also returns its weights; the signature is that of transformers' attention functions."""
    weights = attention_weights(query, key, scaling)
    if attention_mask is not None:
        raise ValueError("Expected no attention mask: every frame of a clip is seen.")
    context = nn.functional.dropout(weights, p=dropout, training=module.training) @ value
    return context.transpose(1, 2).contiguous(), weights


class TemporalAttention(nn.Module):
    """Multi-head self-attention with a head width of its own: queries, keys and values carry no bias."""

    def __init__(self, config: PreTrainedConfig, hidden_size: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.config = config
        self.head_dim, self.scaling = head_dim, head_dim**-0.5
        self.is_causal = False
        self.query_key_value = nn.Linear(hidden_size, 3 * num_heads * head_dim, bias=False)
        self.output = nn.Linear(num_heads * head_dim, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix tokens `(batch, tokens, hidden)`; also return weights `(batch, heads, tokens, tokens)`."""
        query, key, value = (
            part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, tokens, head_dim)
            for part in self.query_key_value(hidden_states).chunk(3, dim=-1)
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation or "eager", eager_attention)
        context, weights = attend(self, query, key, value, None, scaling=self.scaling, dropout=0.0)
        # Sdpa keeps them to itself, and frame weights need them.
        if weights is None:
            weights = attention_weights(query.detach(), key.detach(), self.scaling)
        return self.output(context.flatten(2)), weights


class TemporalLayer(GradientCheckpointingLayer):
    """One pre-norm layer: attention, then a two-layer perceptron."""

    def __init__(
        self, config: PreTrainedConfig, hidden_size: int, num_heads: int, head_dim: int, mlp_size: int
    ) -> None:
        super().__init__()
        self.norm_before_attention = nn.LayerNorm(hidden_size)
        self.attention = TemporalAttention(config, hidden_size, num_heads, head_dim)
        self.norm_before_mlp = nn.LayerNorm(hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, mlp_size), nn.GELU(approximate="tanh"), nn.Linear(mlp_size, hidden_size)
        )

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens after this layer and the attention weights within it."""
        mixed, weights = self.attention(self.norm_before_attention(hidden_states))
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(self.norm_before_mlp(hidden_states)), weights


@torch.no_grad()
def class_token_weights(attentions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Say how much of the class token comes from each other token.

    Args:
        attentions: Each layer's weights, `(batch, heads, tokens, tokens)`; the class token is the first.

    Returns:
        The attention multiplied through the layers, residual included (Abnar and Zuidema 2020),
        `(batch, tokens - 1)`, summing to 1.
    """
    # (batch, tokens), backwards from the token.
    share = torch.zeros_like(attentions[0][:, 0, 0], dtype=torch.float32)
    share[:, 0] = 1
    for weights in reversed(attentions):
        attention = weights.float().mean(dim=1)  # (batch, tokens, tokens)
        # No matrix product: autocast would round it to half precision.
        share = (share + (share[:, :, None] * attention).sum(dim=1)) / 2
    return share[:, 1:] / share[:, 1:].sum(dim=-1, keepdim=True)


class TemporalTransformer(nn.Module):
    """Frames to one vector, read from a class token; without a last norm, as the authors' code has it."""

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        head_dim: int,
        mlp_size: int,
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.position_embeddings = nn.Parameter(torch.empty(1, config.num_frames + 1, hidden_size))
        self.layers = nn.ModuleList(
            TemporalLayer(config, hidden_size, num_heads, head_dim, mlp_size) for _ in range(num_layers)
        )

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summarise frames `(batch, num_frames, hidden)`: the class token, `(batch, hidden)`, and `mix`'s weights."""
        hidden_states, frame_weights = self.mix(frames)
        return hidden_states[:, 0], frame_weights

    def mix(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix frames.

        Args:
            frames: One vector per frame, `(batch, num_frames, hidden)`.

        Returns:
            The class token and the frames' tokens after the last layer, `(batch, 1 + num_frames, hidden)`, and how
            much of the class token comes from each frame, `(batch, num_frames)`; see `class_token_weights`.
        """
        hidden_states = torch.cat([self.class_token.expand(frames.shape[0], -1, -1), frames], dim=1)
        hidden_states = hidden_states + self.position_embeddings  # (batch, 1 + frames, hidden)
        attentions = []
        for layer in self.layers:
            hidden_states, weights = layer(hidden_states)
            attentions.append(weights)
        return hidden_states, class_token_weights(attentions)
