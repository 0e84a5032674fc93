"""ONNX files as models that give scores only: `model` runs them, `external` finds their files."""

from .model import OnnxModel as OnnxModel
