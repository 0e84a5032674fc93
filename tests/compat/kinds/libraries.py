"""Which libraries wrap, adapt, convert or run a classifier?"""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn

from .case import Case, digits, digits_net, kind, on_digits
from .verbs import hushed


def onnx_bytes(net: nn.Module) -> bytes:
    """The net as an ONNX file with a batch of any size."""
    file, batch = io.BytesIO(), torch.export.Dim("batch", min=1, max=4096)
    with hushed():
        program = torch.onnx.export(
            net,
            (digits()[0],),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            opset_version=18,  # onnx2torch knows no Reshape of a later one
            verbose=False,
        )
        assert program is not None
        program.save(file)
    return file.getvalue()


@kind("onnxruntime session", "onnxruntime", "onnx", "onnxscript")
def onnx_runtime() -> Case:
    """A callable around InferenceSession.run."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        onnx_bytes(digits_net()), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def scores(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: images.detach().numpy()})[0])

    return on_digits(scores, scores=True)


@kind("onnxruntime session of one batch size", "onnxruntime", "onnx", "onnxscript")
def fixed_session() -> Case:
    """Exported for eight rows."""
    import onnxruntime

    file = io.BytesIO()
    with hushed():
        program = torch.onnx.export(
            digits_net(), (digits()[0],), dynamo=True, verbose=False
        )
        assert program is not None
        program.save(file)
    session = onnxruntime.InferenceSession(
        file.getvalue(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def scores(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: images.detach().numpy()})[0])

    words = "takes 8 rows only"
    return on_digits(
        scores, refused=dict.fromkeys(("PRTest", "FIMScore", "MSA"), words)
    )


@kind("onnx2torch module", "onnx2torch", "onnx", "onnxscript")
def converted() -> Case:
    """ONNX and back; its graph has a gradient."""
    import onnx
    from onnx2torch import convert

    graph = onnx.load_from_string(onnx_bytes(digits_net()))
    for node in graph.graph.node:
        for attribute in node.attribute:
            # onnx2torch knows no allowzero=1, which means nothing where no side is 0
            if attribute.name == "allowzero":
                attribute.i = 0
    with hushed():
        model = convert(graph)
    return on_digits(model)


@kind("torchao int8 weights", "torchao")
def int8_weights() -> Case:
    """Tensor subclasses; the plain net has the rounded weights in float32."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = digits_net()
    with hushed():
        quantize_(model, Int8WeightOnlyConfig())
    plain = digits_net()
    for mine, other in zip(plain, model):
        if isinstance(mine, nn.Linear):
            weight: Any = other.weight
            with torch.no_grad():
                mine.weight.copy_(weight.dequantize())
    return on_digits(model, plain)


@kind("torchao fake-quantised training (QAT)", "torchao")
def fake_quantised() -> Case:
    """Straight-through rounding of weights; the plain net has the rounded weights."""
    from torchao.quantization.qat import FakeQuantizedLinear, IntxFakeQuantizeConfig

    model, plain = digits_net(), digits_net()
    config = IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True)
    with hushed():
        for place in (5, 7):
            linear = FakeQuantizedLinear.from_linear(model[place], weight_config=config)
            model[place] = linear
            with torch.no_grad():
                plain[place].weight.copy_(linear.weight_fake_quantizer(linear.weight))
    return on_digits(model, plain)


@kind("peft LoRA", "peft")
def peft_lora() -> Case:
    """get_peft_model on two linear layers, not merged; the plain net is merged."""
    from peft import LoraConfig, get_peft_model

    with hushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        config = LoraConfig(r=4, target_modules=["5", "7"], init_lora_weights=False)
        model: Any = get_peft_model(digits_net(), config)
        plain = copy.deepcopy(model).merge_and_unload().eval()
    return on_digits(model.train(), plain)


@kind("loralib.Linear", "loralib")
def lora() -> Case:
    """Merged by eval(), taken apart by train()."""
    import loralib

    net, plain = digits_net(), digits_net()
    layer = loralib.Linear(64, 10, r=4)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        layer.weight.copy_(net[-1].weight)
        layer.bias.copy_(net[-1].bias)
        layer.lora_A.copy_(0.1 * torch.randn(layer.lora_A.shape, generator=generator))
        layer.lora_B.copy_(0.1 * torch.randn(layer.lora_B.shape, generator=generator))
        plain[-1].weight += layer.lora_B @ layer.lora_A * layer.scaling
    net[-1] = layer
    return on_digits(net.train(), plain)


@kind("skorch NeuralNetClassifier.predict_proba", "skorch")
def skorch_proba() -> Case:
    """NumPy in, probabilities in NumPy out."""
    import skorch

    with hushed():
        classifier = skorch.NeuralNetClassifier(
            digits_net(), criterion=nn.CrossEntropyLoss
        )
        classifier.initialize()

    def scores(images: Tensor) -> Tensor:
        return torch.from_numpy(classifier.predict_proba(images.detach().numpy()))

    # a softmax in float32, and its logarithm
    return on_digits(scores, options={"outputs": "probs"}, scores=True, allowed=1e-3)


@kind("skorch module_", "skorch")
def skorch_module() -> Case:
    """The fitted module itself, as skorch keeps it."""
    import skorch

    with hushed():
        classifier = skorch.NeuralNetClassifier(
            digits_net(), criterion=nn.CrossEntropyLoss
        )
        classifier.initialize()
    return on_digits(classifier.module_)


def _on_rows(fitted: Any, weights: list[nn.Module], **facts: Any) -> Case:
    """A scikit-learn model on flat pixels, beside linear layers with its coefficients."""
    images, labels = digits()
    plain = nn.Sequential(nn.Flatten(), *weights)

    def scores(x: Tensor) -> Tensor:
        return torch.from_numpy(fitted(x.detach().flatten(1).numpy()))

    return Case(scores, plain, images, labels, scores=True, **facts)


def _train_rows() -> tuple[Any, Any]:
    from torchattacks_ext.data.digits import load_digits

    images, labels = load_digits("train")
    return images.flatten(1).numpy(), labels.numpy()


def _linear(weight: Any, bias: Any) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


@kind("scikit-learn LogisticRegression.decision_function", "scikit-learn")
def logistic_scores() -> Case:
    """Scores (N, K) in NumPy."""
    from sklearn.linear_model import LogisticRegression

    with hushed():
        fitted = LogisticRegression(max_iter=200).fit(*_train_rows())
    return _on_rows(
        fitted.decision_function, [_linear(fitted.coef_, fitted.intercept_)]
    )


@kind("scikit-learn MLPClassifier.predict_proba", "scikit-learn")
def sklearn_mlp() -> Case:
    """Probabilities in NumPy."""
    from sklearn.neural_network import MLPClassifier

    with hushed():
        fitted = MLPClassifier((32,), max_iter=30, random_state=0).fit(*_train_rows())
    one, two = (_linear(w.T, b) for w, b in zip(fitted.coefs_, fitted.intercepts_))
    options = {"outputs": "probs"}
    return _on_rows(
        fitted.predict_proba, [one, nn.ReLU(), two], options=options, allowed=1e-3
    )


@kind("LightningModule", "lightning")
def lightning_module() -> Case:
    """Attached to no trainer."""
    import lightning

    class Lit(lightning.LightningModule):
        """A module with a training step."""

        def __init__(self) -> None:
            super().__init__()
            self.net = digits_net()

        def forward(self, images: Tensor) -> Tensor:
            """Logits (N, K)."""
            found: Tensor = self.net(images)
            return found

        def training_step(self, batch: Any, index: int) -> Tensor:
            """Cross-entropy."""
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

    return on_digits(Lit())


@kind("Fabric module", "lightning")
def fabric() -> Case:
    """Set up by lightning.fabric with an optimiser."""
    from lightning.fabric import Fabric

    net = digits_net()
    with hushed():
        model, _ = Fabric(accelerator="cpu", devices=1).setup(
            net, torch.optim.SGD(net.parameters(), 0.1)
        )
    return on_digits(model)
