"""The upper layers of a BERT in PyTorch, with the weights of the cross-encoder's file, and back to ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from torch.nn import functional

STATES = 384
HEADS = 12
LAYERS = 12
# Layers below are the cross-encoder's own, unchanged.
FIRST = 6


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, weights: dict[str, np.ndarray], prefix: str) -> None:
        super().__init__()
        self.query, self.key, self.value, self.attended = (
            _linear(weights, f"{prefix}.attention.{name}")
            for name in ("self.query", "self.key", "self.value", "output.dense")
        )
        self.inner, self.outer = (_linear(weights, f"{prefix}.{name}.dense") for name in ("intermediate", "output"))
        self.after_attention = _norm(weights, f"{prefix}.attention.output.LayerNorm")
        self.after_all = _norm(weights, f"{prefix}.output.LayerNorm")
        self.dropout = nn.Dropout(0.1)

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        """States [texts, tokens, 384]; `seen` [texts, 1, 1, tokens] says which tokens are there."""
        query, key, value = (self._by_head(one(states)) for one in (self.query, self.key, self.value))
        if seen is None:
            # Spelt out, for the export.
            shares = torch.softmax(query @ key.transpose(2, 3) * (STATES // HEADS) ** -0.5, -1)
            mixed = shares @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        mixed = mixed.transpose(1, 2).reshape(states.shape[0], -1, STATES)
        states = self.after_attention(states + self.dropout(self.attended(mixed)))
        return self.after_all(states + self.dropout(self.outer(functional.gelu(self.inner(states)))))

    @staticmethod
    def _by_head(states: Tensor) -> Tensor:
        return states.reshape(states.shape[0], -1, HEADS, STATES // HEADS).transpose(1, 2)


class Upper(nn.Module):
    """The layers from FIRST on, and for each token a logit of being the first of a piece, and one of the last."""

    def __init__(self, cross_encoder: Path) -> None:
        super().__init__()
        weights = dequantised(cross_encoder)
        self.layers = nn.ModuleList(Layer(weights, f"bert.encoder.layer.{n}") for n in range(FIRST, LAYERS))
        self.ends = nn.Linear(STATES, 2)
        nn.init.normal_(self.ends.weight, std=0.02)
        nn.init.zeros_(self.ends.bias)

    def forward(self, states: Tensor, seen: Tensor | None = None) -> Tensor:
        """Logits [texts, tokens, 2]."""
        for layer in self.layers:
            states = layer(states, seen)
        return self.ends(states)


def dequantised(model: Path) -> dict[str, np.ndarray]:
    """The weights of an int8 ONNX file as floats, by the names that they had in PyTorch."""
    graph = onnx.load(model).graph
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found = {name: value for name, value in known.items() if name.startswith("bert.encoder")}
    for node in graph.node:
        if node.op_type == "MatMulInteger" and node.name.startswith("/bert/encoder"):
            name = node.input[1].removesuffix("_quantized")
            zero, scale = (known[f"{name}_{part}"].astype(np.float32) for part in ("zero_point", "scale"))
            matrix = (known[node.input[1]].astype(np.float32) - zero) * scale
            path = node.name.removesuffix("/MatMul_quant").removeprefix("/").replace("/", ".")
            found[f"{path}.weight"] = matrix.T
    return found


def export(upper: Upper, path: Path) -> None:
    """Write a reader's file: int8 weights, input `states` [1, tokens, 384], output `logits` [1, tokens, 2]."""
    upper.eval()
    axes = {"states": {1: "tokens"}, "logits": {1: "tokens"}}
    with tempfile.TemporaryDirectory() as folder:
        floats = Path(folder) / "floats.onnx"
        torch.onnx.export(
            upper,
            (torch.randn(1, 50, STATES),),
            floats,
            input_names=["states"],
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        # By channel: with one scale for a matrix, three answers of a hundred are lost.
        quantize_dynamic(floats, path, weight_type=QuantType.QInt8, per_channel=True)


def seen(lengths: Sequence[int]) -> Tensor:
    """Which tokens are there [texts, 1, 1, longest]."""
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])[:, None, None, :]


def _linear(weights: dict[str, np.ndarray], name: str) -> nn.Linear:
    matrix, bias = (torch.tensor(np.array(weights[f"{name}.{part}"])) for part in ("weight", "bias"))
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    layer.weight.data, layer.bias.data = matrix.contiguous(), bias
    return layer


def _norm(weights: dict[str, np.ndarray], name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(STATES, eps=1e-12)
    layer.weight.data, layer.bias.data = (
        torch.tensor(np.array(weights[f"{name}.{part}"])) for part in ("weight", "bias")
    )
    return layer
